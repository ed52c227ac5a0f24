"""Whatever is asked, every route answers in JSON, and never with a 5xx: all partitions of the two workers are ready.

Only /readyz may, because one pool waits, and answers that are older than `max_age_s` allows.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.web_cluster import POOLS, V4, Cluster

ROUTES = ["/pools/", "/pools/{}/", "/pools/{}/ticks/", "/pools/{}/explain/"] * 3
ROUTES += ["/status/", "/healthz", "/metrics", "/readyz", "/", "/pools", "/pools/{}", "/{}", "//"]
PARAMETERS = ["at", "limit", "cursor", "token", "protocol", "status", "max_age_s", "%ED%A0%80", ""]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]
LONGEST_TARGET = 8000
"""aiohttp's parser takes 8190 bytes, and answers longer ones before there is a request."""


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


characters = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
numbers = (
    st.integers().map(str)
    | st.sampled_from([19, 20, 78, 79, 4300, 4301, 6000]).map(lambda digits: "9" * digits)
    | st.floats().map(str)
)
words = st.sampled_from(["", "0", "-0", "1", "٣", "²", "1_000", "0x1", "finalized", "safe", "null", "%", "live", "v4"])
values = numbers | characters | words | st.sampled_from([*POOLS[:3], V4, POOLS[0].upper()])


@st.composite
def encoded(draw: st.DrawFn) -> str:
    """A value as a client may write it: percent-encoded as UTF-8 or as anything else, or hardly at all."""
    value = draw(values)
    match draw(st.integers(0, 2)):
        case 0:
            return quote(value.encode("utf-8", "surrogatepass"), safe="")
        case 1:
            return quote(value.encode("utf-16", "surrogatepass"), safe="")
        case _:
            return "".join(char for char in value if "!" <= char <= "~" and char not in "#?")


@st.composite
def targets(draw: st.DrawFn) -> str:
    pool = draw(st.sampled_from([*POOLS[:4], V4]) | encoded())
    path = draw(st.sampled_from(ROUTES)).format(pool)
    pairs = draw(st.lists(st.tuples(st.sampled_from(PARAMETERS), encoded()), max_size=5))
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return f"{path}?{query}"[:LONGEST_TARGET].removesuffix("%")


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    yield started
    await started.stop()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@example(target=f"/pools/?limit={'9' * 5000}", method="GET", body=b"")
@example(target="/pools/", method="HEAD", body=b"")
@example(target="/status/", method="HEAD", body=b"")
@example(target=f"/pools/{POOLS[0]}/?at={'9' * 5000}", method="GET", body=b"")
@given(target=targets(), method=st.sampled_from(["GET"] * 30 + METHODS), body=st.binary(max_size=50))
async def test_every_request_has_an_answer_in_json(cluster: Cluster, target: str, method: str, body: bytes) -> None:
    answer = await send(cluster, method, target, body)

    is_refused = target.startswith("/readyz") or ("max_age_s=" in target and b"s are asked for" in answer.body)
    assert answer.status < 500 or (answer.status == 503 and (is_refused or method == "HEAD")), answer
    if method == "HEAD":
        assert answer.body == b""
    elif answer.status == 200 and answer.content_type.startswith("text/plain"):
        assert target.startswith("/metrics")
    elif answer.status == 200 and answer.content_type.startswith("text/html"):
        assert target.partition("?")[0] == "/"
    else:
        assert answer.content_type.startswith("application/json"), answer
        answered = json.loads(answer.body)
        assert answer.status == 200 or " " in answered["error"]


async def send(cluster: Cluster, method: str, target: str, body: bytes) -> Answer:
    host, port = cluster.address()
    reader, writer = await asyncio.open_connection(host, port)
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answered = await reader.read()
    writer.close()
    header, _, content = answered.partition(b"\r\n\r\n")
    lines = header.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:])
    return Answer(int(lines[0].split()[1]), fields.get("content-type", ""), content)
