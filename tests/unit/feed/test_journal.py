"""The journal of a feed, damaged in any way: the blocks before the damage are read, and nothing is raised."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from lab.fuzz import mutation
from protocols.types import PoolId
from settings import Settings
from streams.exex.control_messages import BeginBlock, EndBlock, PoolUpdate
from streams.feed.blocks import FeedBlock
from streams.feed.journal import ActiveFilter, FilterSet, Journal
from streams.node.blocks import NodeHeader
from tests.unit.exex.test_mutations import decoded, stream

GENESIS = "0x" + "00" * 32
FILTER = ActiveFilter(3, FilterSet({PoolId("0x" + "ab" * 20): "v3"}))


def blocks() -> Sequence[FeedBlock]:
    """Ascending, with the updates of a random chain."""
    messages = decoded(b"".join(stream(3).frames))
    found: list[FeedBlock] = []
    updates: list[PoolUpdate] = []
    for message in messages:
        if isinstance(message, BeginBlock):
            updates = []
        elif isinstance(message, PoolUpdate):
            updates.append(message)
        elif isinstance(message, EndBlock):
            number = len(found) + 1
            header = NodeHeader(number, f"0x{number:064x}", f"0x{number - 1:064x}", number, 7)
            found.append(FeedBlock(header, tuple(updates)))
    return found


def journal(directory: Path) -> tuple[Journal, Path]:
    settings = Settings(data=directory, chain="journal")
    written = Journal(settings)
    assert written.load(GENESIS) == []
    kept = blocks()
    for count, block in enumerate(kept, 1):
        written.add([block], kept[:count])
    written.save_filter(FILTER)
    (path,) = directory.glob("*.journal")
    return Journal(settings), path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written, _ = journal(tmp_path)

    assert written.load(GENESIS) == blocks()
    assert written.load_filter() == FILTER


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"type":"back","to":' + b"[" * 2_000])
def test_a_deeply_nested_line_ends_the_reading_and_not_the_feed(tmp_path: Path, nested: bytes) -> None:
    written, path = journal(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], nested, *lines[3:]]))

    assert written.load(GENESIS) == blocks()[:2]


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"from_block":1,"watched":' + b"[" * 2_000, b"\xff", b"null"])
def test_a_filter_that_cannot_be_read_is_left(tmp_path: Path, nested: bytes) -> None:
    written, _ = journal(tmp_path)
    (path,) = tmp_path.glob("*.list")
    path.write_bytes(nested)

    assert written.load_filter() is None


@pytest.mark.parametrize("seed", range(150))
def test_a_mutated_journal_raises_nothing_and_is_read_up_to_the_damage(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    written, path = journal(tmp_path)
    lines = path.read_bytes().splitlines()
    at = random.randrange(len(lines))
    lines[at] = random.choice((mutation.of_bytes, mutation.of_json))(random, lines[at])
    path.write_bytes(b"\n".join(lines))

    found = written.load(GENESIS)

    before = max(0, at - 1)
    assert found[:before] == (list(blocks()[:before]) if at else [])[: len(found)]
