"""A failing source keeps its last good answer, reports its age, and affects no other source."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from streams.node.client import connect
from tests.support.whitelist.source_server import SourceServer, serving_sources
from tests.support.whitelist.token_sources import WORLD
from whitelist.configuration import Configuration, Factory, Lighter, Sources, TokenLists
from whitelist.sources import coingecko, fetching, hyperliquid, lighter, token_lists
from whitelist.sources.cache import Answer, SourceCache, age_text
from whitelist.sources.fetching import fetch
from whitelist.sources.query import SourceFailed, SourceRequest
from whitelist.sources.results import SourceCollector, merge_answers
from whitelist.tokens.selection import SourceResults

Parse = Callable[[bytes], Any]

SOURCES: Mapping[str, tuple[SourceRequest, Parse, str]] = {
    "cross_chain": (coingecko.REQUEST, coingecko.parse, ""),
    "hyperliquid": (hyperliquid.REQUEST, hyperliquid.parse, ""),
    "lighter": (lighter.REQUEST, lighter.parse, ""),
    "token_lists": (token_lists.REQUEST, token_lists.parse, "/list.json"),
}
"""Each source's request and parser, and the path after the server's URL."""
NO_NODE = "http://127.0.0.1:1"
FACTORIES = (Factory(protocol="v2", address="0x" + "f" * 40),)


@pytest.fixture
def server() -> Iterator[SourceServer]:
    with serving_sources(WORLD) as server:
        yield server


def older(directory: Path, age_s: float) -> None:
    """Makes all cached answers this old."""
    for path in directory.iterdir():
        os.utime(path, (time.time() - age_s, time.time() - age_s))


async def answer(cache: SourceCache, name: str, url: str, timeout_s: float = 5, max_age_s: float = 0) -> Answer[Any]:
    request, parse, path = SOURCES[name]
    return await cache.get(name, url, lambda: fetch(url + path, request, timeout_s), parse, max_age_s)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("down", "disconnected"),
        ("slow", r"gave no answer within 0\.2 s"),
        ("empty", "names 0 coins|of 0 perpetuals|of 0 funding rates|list is empty"),
        ("rubbish", "the answer (is not|has no)"),
        ("truncated", "the answer (is not|has no)"),
        ("error", """answered HTTP 500: b'{"error": "out of order"}'"""),
        ("other", "the answer (is not|has no)"),
    ],
)
@pytest.mark.parametrize("name", SOURCES)
async def test_a_failing_source_keeps_its_last_good_answer(
    server: SourceServer, tmp_path: Path, name: str, fault: str, error: str
) -> None:
    cache = SourceCache(tmp_path)
    good = await answer(cache, name, server.url)
    older(tmp_path, 7200)
    server.fault = fault

    bad = await answer(cache, name, server.url, timeout_s=0.2 if fault == "slow" else 5)
    server.fault = ""
    again = await answer(cache, name, server.url)

    assert (good.status, good.age_s, good.error) == ("ok", 0.0, None)
    assert (bad.status, bad.value) == ("stale", good.value)
    assert bad.age_s == pytest.approx(7200, abs=5)
    assert re.search(error, str(bad.error))
    assert again == good


async def test_the_log_line_says_what_failed_and_since_when(
    server: SourceServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = SourceCache(tmp_path)
    await answer(cache, "lighter", server.url)
    older(tmp_path, 3 * 86400)
    server.fault = "error"

    await answer(cache, "lighter", server.url)

    since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() - 3 * 86400))
    (message,) = caplog.messages
    assert message.startswith(f"source lighter: {server.url}/api/v1/funding-rates answered HTTP 500")
    assert f"using its answer of {since}" in message
    assert message.endswith("3 days old")


async def test_a_source_that_never_answered_has_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        found = await answer(SourceCache(tmp_path), "lighter", url)

    assert (found.status, found.value, found.age_s) == ("failed", None, None)
    assert found.error is not None
    assert found.error.startswith(url)
    assert "it has never given an answer, so it chooses no token" in caplog.text


async def test_a_cached_answer_that_cannot_be_decoded_is_not_used(server: SourceServer, tmp_path: Path) -> None:
    cache = SourceCache(tmp_path)
    await answer(cache, "lighter", server.url)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"{")
    server.fault = "down"

    found = await answer(cache, "lighter", server.url)

    assert (found.status, found.value) == ("failed", None)


async def test_an_answer_to_another_request_is_not_used(server: SourceServer, tmp_path: Path) -> None:
    cache = SourceCache(tmp_path)
    await answer(cache, "lighter", server.url)

    assert (await answer(cache, "lighter", NO_NODE)).status == "failed"


async def test_an_answer_within_its_maximum_age_is_not_fetched_again(server: SourceServer, tmp_path: Path) -> None:
    cache = SourceCache(tmp_path)
    first = await answer(cache, "lighter", server.url)
    older(tmp_path, 60)

    young = await answer(cache, "lighter", server.url, max_age_s=90)
    old = await answer(cache, "lighter", server.url, max_age_s=30)

    assert (young.status, young.value) == ("ok", first.value)
    assert young.age_s == pytest.approx(60, abs=5)
    assert (old.age_s, len(server.asked)) == (0.0, 2)


@pytest.mark.parametrize("url", ["http://", "https://exa mple/x", "/no/such/file", "file:///no/such/file", ""])
async def test_a_url_that_cannot_be_fetched_is_a_failed_source(url: str) -> None:
    with pytest.raises(SourceFailed):
        await fetch(url, SourceRequest(), 2)


@pytest.mark.parametrize("fault", ["", "down", "slow", "error", "echo", "unresolvable", "malformed"])
@pytest.mark.parametrize(
    "url", ["http://user:KEY-1234@{}/none", "http://{}/KEY-1234/list", "http://{}/none?key=KEY-1234&all=true"]
)
async def test_an_error_contains_no_key_of_the_url(server: SourceServer, url: str, fault: str) -> None:
    host = {"unresolvable": "KEY-1234.invalid:1", "malformed": "127.0.0.1:port"}.get(fault)
    server.fault = fault
    server.answers = {urlsplit(url.format("x")).path: {"error": "no such key: KEY-1234"}} if fault == "echo" else {}

    with pytest.raises(SourceFailed) as failed:
        body = await fetch(url.format(host or server.url.removeprefix("http://")), SourceRequest(), 0.3)
        token_lists.parse(body)

    assert "KEY-1234" not in str(failed.value).replace("KEY-1234.invalid", "")


async def test_an_error_names_server_and_endpoint(server: SourceServer) -> None:
    server.fault = "error"

    with pytest.raises(SourceFailed) as failed:
        await fetch(f"{server.url}/info?key=KEY-1234", hyperliquid.REQUEST, 2)
    with pytest.raises(SourceFailed, match=f"^{re.escape(server.url)}/… answered HTTP 404"):
        await fetch(f"{server.url}/some/list.json", SourceRequest(), 2)

    assert str(failed.value).startswith(f"{server.url}/info answered HTTP 500: ")


async def test_an_endless_answer_is_refused(
    server: SourceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_ANSWER_BYTES", 100)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 101)

    with pytest.raises(SourceFailed, match="gave more than 100 bytes"):
        await fetch(f"{server.url}/api/v3/coins/list", SourceRequest(), 2)
    with pytest.raises(SourceFailed, match=r"large\.json is larger than 100 bytes"):
        await fetch(str(path), SourceRequest(), 2)


async def collected(directory: Path, sources: Sources) -> tuple[SourceResults, Mapping[str, Answer[Any]]]:
    configuration = Configuration(factories=FACTORIES, sources=sources)
    async with connect(NO_NODE) as node:
        return await SourceCollector(configuration, SourceCache(directory), node, last_block=100).collect()


async def test_a_failing_source_affects_no_other(server: SourceServer, tmp_path: Path) -> None:
    sources = Sources(lighter=Lighter(url=server.url), token_lists=TokenLists(urls=(NO_NODE,)))

    found, answers = await collected(tmp_path, sources)

    assert (found.lighter, list(found.listed)) == (["ETH", "PEPE"], [])
    assert {name: each.status for name, each in answers.items()} == {"lighter": "ok", "token_lists": "failed"}


async def test_enabled_sources_are_asked_concurrently(server: SourceServer, tmp_path: Path) -> None:
    server.fault, server.slow_s = "slow", 1.0
    urls = tuple(f"{server.url}/list.json?{number}" for number in range(3))
    sources = Sources(
        lighter=Lighter(enabled=False, url=server.url), token_lists=TokenLists(urls=urls, timeout_s=2 * server.slow_s)
    )

    began = time.monotonic()
    found, answers = await collected(tmp_path, sources)

    assert time.monotonic() - began < 2 * server.slow_s
    assert (set(answers), len(found.listed)) == ({"token_lists"}, 9)
    assert all(path.startswith("/list.json") for _, path, _ in server.asked)


def test_merged_lists_have_the_worst_status_and_the_highest_age() -> None:
    good, stale = Answer("ok", ["a"], 0.0), Answer("stale", ["b"], 9.0, "x")
    failed: Answer[list[str]] = Answer("failed", None, None, "y")

    assert merge_answers([good, stale]) == Answer("stale", ["a", "b"], 9.0, "x")
    assert merge_answers([failed, stale, good]) == Answer("failed", ["b", "a"], 9.0, "y; x")
    assert merge_answers([good]) == good


def test_ages_are_shown_in_the_largest_useful_unit() -> None:
    assert [age_text(age) for age in (1, 119, 120, 7200, 2 * 86400)] == ["1 s", "119 s", "2 min", "2 h", "2 days"]
