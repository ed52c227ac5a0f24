"""A source that fails keeps its last good answer, tells how old that is, and takes nothing with it."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from streams.node.client import connect
from tests.support.source_server import SLOW_S, Answering, answering
from tests.support.token_sources import WORLD
from whitelist.configuration import Configuration, Factory, Lighter, Sources, TokenLists
from whitelist.sources import coingecko, fetching, hyperliquid, lighter, token_lists
from whitelist.sources.cache import Answer, Kept, spoken
from whitelist.sources.fetching import fetch
from whitelist.sources.query import Question, SourceFailed
from whitelist.sources.results import Hearing, joined
from whitelist.tokens.selection import SourceResults

Read = Callable[[bytes], Any]

SOURCES: Mapping[str, tuple[Question, Read, str]] = {
    "cross_chain": (coingecko.QUESTION, coingecko.read, ""),
    "hyperliquid": (hyperliquid.QUESTION, hyperliquid.read, ""),
    "lighter": (lighter.QUESTION, lighter.read, ""),
    "token_lists": (token_lists.QUESTION, token_lists.read, "/list.json"),
}
"""How each is asked and read, and what follows the server's URL."""
NO_NODE = "http://127.0.0.1:1"
FACTORIES = (Factory("v2", "0x" + "f" * 40),)


@pytest.fixture
def world() -> Iterator[Answering]:
    with answering(WORLD) as world:
        yield world


def older(directory: Path, age_s: float) -> None:
    """All answers that are kept become so old."""
    for path in directory.iterdir():
        os.utime(path, (time.time() - age_s, time.time() - age_s))


async def answer(kept: Kept, name: str, url: str, timeout_s: float = 5, young_s: float = 0) -> Answer[Any]:
    question, read, path = SOURCES[name]
    return await kept.answer(name, url, lambda: fetch(url + path, question, timeout_s), read, young_s)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("down", "disconnected"),
        ("slow", r"gave no answer within 0\.2 s"),
        ("empty", "names 0 coins|of 0 perpetuals|of 0 funding rates|list is empty"),
        ("rubbish", "the answer (is no|has no)"),
        ("truncated", "the answer (is no|has no)"),
        ("error", """answered HTTP 500: b'{"error": "out of order"}'"""),
        ("other", "the answer (is no|has no)"),
    ],
)
@pytest.mark.parametrize("name", SOURCES)
async def test_a_failing_source_is_heard_as_it_last_was(
    world: Answering, tmp_path: Path, name: str, fault: str, said: str
) -> None:
    kept = Kept(tmp_path)
    good = await answer(kept, name, world.url)
    older(tmp_path, 7200)
    world.fault = fault

    bad = await answer(kept, name, world.url, timeout_s=0.2 if fault == "slow" else 5)
    world.fault = ""
    again = await answer(kept, name, world.url)

    assert (good.status, good.age_s, good.error) == ("ok", 0.0, None)
    assert (bad.status, bad.value) == ("stale", good.value)
    assert bad.age_s == pytest.approx(7200, abs=5)
    assert re.search(said, str(bad.error))
    assert again == good


async def test_the_message_says_what_and_since_when(
    world: Answering, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path)
    await answer(kept, "lighter", world.url)
    older(tmp_path, 3 * 86400)
    world.fault = "error"

    await answer(kept, "lighter", world.url)

    since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() - 3 * 86400))
    (message,) = caplog.messages
    assert message.startswith(f"Source lighter: {world.url}/api/v1/funding-rates answered HTTP 500")
    assert f"its answer of {since}" in message
    assert message.endswith("3 days old, is used on")


async def test_a_source_that_never_answered_has_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        found = await answer(Kept(tmp_path), "lighter", url)

    assert (found.status, found.value, found.age_s) == ("failed", None, None)
    assert found.error is not None
    assert found.error.startswith(url)
    assert "it never gave an answer before, so it chooses nothing" in caplog.text


async def test_a_kept_answer_that_cannot_be_read_is_none(world: Answering, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await answer(kept, "lighter", world.url)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"{")
    world.fault = "down"

    found = await answer(kept, "lighter", world.url)

    assert (found.status, found.value) == ("failed", None)


async def test_an_answer_to_another_question_is_none(world: Answering, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await answer(kept, "lighter", world.url)

    assert (await answer(kept, "lighter", NO_NODE)).status == "failed"


async def test_a_young_answer_is_not_asked_for_again(world: Answering, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    first = await answer(kept, "lighter", world.url)
    older(tmp_path, 60)

    young = await answer(kept, "lighter", world.url, young_s=90)
    old = await answer(kept, "lighter", world.url, young_s=30)

    assert (young.status, young.value) == ("ok", first.value)
    assert young.age_s == pytest.approx(60, abs=5)
    assert (old.age_s, len(world.asked)) == (0.0, 2)


@pytest.mark.parametrize("url", ["http://", "https://exa mple/x", "/no/such/file", "file:///no/such/file", ""])
async def test_what_cannot_be_fetched_is_a_failure_of_the_source(url: str) -> None:
    with pytest.raises(SourceFailed):
        await fetch(url, Question(), 2)


async def test_a_failure_names_no_key_of_the_url(world: Answering) -> None:
    with pytest.raises(SourceFailed) as failed:
        await fetch(world.url.replace("http://", "http://user:secret@") + "/none?key=secret", Question(), 2)

    assert str(failed.value) == f"{world.url}/none answered HTTP 404: b'not here'"


async def test_an_answer_without_end_is_given_up(
    world: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST_ANSWER_BYTES", 100)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 101)

    with pytest.raises(SourceFailed, match="gave more than 100 bytes"):
        await fetch(f"{world.url}/api/v3/coins/list", Question(), 2)
    with pytest.raises(SourceFailed, match=r"large\.json is larger than 100 bytes"):
        await fetch(str(path), Question(), 2)


async def heard(directory: Path, sources: Sources) -> tuple[SourceResults, Mapping[str, Answer[Any]]]:
    configuration = Configuration(factories=FACTORIES, sources=sources)
    async with connect(NO_NODE) as node:
        return await Hearing(configuration, Kept(directory), node, last_block=100).hear()


async def test_one_source_that_fails_leaves_the_others_alone(world: Answering, tmp_path: Path) -> None:
    sources = Sources(lighter=Lighter(url=world.url), token_lists=TokenLists(urls=(NO_NODE,)))

    found, answers = await heard(tmp_path, sources)

    assert (found.lighter, list(found.listed)) == (["ETH", "PEPE"], [])
    assert {name: each.status for name, each in answers.items()} == {"lighter": "ok", "token_lists": "failed"}


async def test_sources_are_asked_side_by_side_and_only_if_enabled(world: Answering, tmp_path: Path) -> None:
    world.fault = "slow"
    urls = tuple(f"{world.url}/list.json?{number}" for number in range(3))
    sources = Sources(
        lighter=Lighter(enabled=False, url=world.url), token_lists=TokenLists(urls=urls, timeout_s=2 * SLOW_S)
    )

    began = time.monotonic()
    found, answers = await heard(tmp_path, sources)

    assert time.monotonic() - began < 2 * SLOW_S
    assert (set(answers), len(found.listed)) == ({"token_lists"}, 9)
    assert all(path.startswith("/list.json") for _, path, _ in world.asked)


def test_lists_together_are_as_good_as_the_worst_and_as_old_as_the_oldest() -> None:
    good, stale = Answer("ok", ["a"], 0.0), Answer("stale", ["b"], 9.0, "x")
    failed: Answer[list[str]] = Answer("failed", None, None, "y")

    assert joined([good, stale]) == Answer("stale", ["a", "b"], 9.0, "x")
    assert joined([failed, stale, good]) == Answer("failed", ["b", "a"], 9.0, "y; x")
    assert joined([good]) == good


def test_ages_are_spoken_in_the_unit_that_says_most() -> None:
    assert [spoken(age) for age in (1, 119, 120, 7200, 2 * 86400)] == ["1 s", "119 s", "2 min", "2 h", "2 days"]
