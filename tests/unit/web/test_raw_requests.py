"""Bytes that are no HTTP, and bodies that cannot be read: a sentence in JSON, never a 5xx, no traceback in the log."""

import logging
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.web.raw_http import CHUNKED, GET, HANDLED, POST, REFUSED, answers, assert_answered
from tests.support.web_cluster import POOLS, Cluster

ROUTES = ["/pools/query", "/quote"]
BODIES = [
    b"",
    b"[" * 1_100,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"ids":' * 1_100,
    b'{"ids": [' + b"[" * 2_000,
    b'{"ids": ["\xff\xfe"]}',
    b'{"ids": ["\\ud800"]}',
    b'{"at": ' + b"9" * 5_000 + b"}",
    b'{"ids": ' + b"9" * 5_000 + b"}",
    b'{"ids": ["%s"], "at": %s}' % (POOLS[0].encode(), b"9" * 5_000),
    b'{"quotes": [{"pool": "%s", "amount_in": %s}]}' % (POOLS[0].encode(), b"9" * 5_000),
    b'{"ids": 1e400}',
    b"\0" * 100,
]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    yield started
    await started.stop()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]


@pytest.mark.parametrize("data", REFUSED)
async def test_bytes_that_are_no_request_are_refused_with_a_sentence(
    cluster: Cluster, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    found = await answers(cluster.address(), data)

    assert [400 <= each.status < 500 for each in found] in ([True], [])
    for each in found:
        assert_answered(each)
    assert warnings(caplog) == []


@pytest.mark.parametrize("data", HANDLED)
async def test_odd_headers_and_bodies_are_answered(
    cluster: Cluster, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for each in await answers(cluster.address(), data):
        assert_answered(each)
    assert warnings(caplog) == []


PIECES = st.binary(max_size=6) | st.sampled_from([b"\r\n", b"\0", b" ", b":", b"%", b"?"])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data: bytes = draw(st.sampled_from([GET, POST, CHUNKED + b"4\r\nwiki\r\n0\r\n\r\n"]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(PIECES) + data[at + draw(st.integers(0, 5)) :]
    return data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(mutated())
async def test_a_request_with_mutated_bytes_is_answered_in_json_or_not_at_all(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    caplog.clear()

    for each in await answers(cluster.address(), data):
        assert_answered(each)
    assert warnings(caplog) == []


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_that_cannot_be_read_is_refused(cluster: Cluster, route: str, body: bytes) -> None:
    head = f"POST {route} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"

    (answer,) = await answers(cluster.address(), head.encode() + body)

    assert answer.status == 400
    assert_answered(answer)
