"""A feed that never ends its block is held in bounded memory."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from protocols.types import PoolId
from protocols.v2 import Sync
from streams.bridge import feed_reader
from streams.bridge.feed_reader import ControlWire, FeedReader, SeedWire, StepLost
from streams.exex.control_encoder import encode
from streams.exex.control_messages import Message, Skipped
from streams.exex.steps import AssembledBlock
from streams.node.blocks import NodeHeader
from tests.support.bridge.emitting_chain import Updates
from tests.support.bridge.scripted_feed import block_messages, reorg_messages

POOL = PoolId("0x" + "ab" * 20)
MOST = 50


@pytest.fixture(autouse=True)
def _few_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_reader, "MOST_PENDING", MOST)


def header(number: int) -> NodeHeader:
    return NodeHeader(number, f"0x{number:064x}", f"0x{number - 1:064x}", number, 7)


def block(number: int, updates: int) -> list[Message]:
    return block_messages(header(number), {POOL: tuple(Sync(each, 1) for each in range(updates))})


def frames(messages: list[Message], first: int = 1) -> Iterator[bytes]:
    for seq, message in enumerate(messages, first):
        assert not isinstance(message, Skipped)
        yield encode(msgspec.structs.replace(message, stream_seq=seq))


def steps(wire: ControlWire, messages: list[Message]) -> list[int]:
    return [step.number for data in frames(messages) for step in wire.receive(data) if isinstance(step, AssembledBlock)]


def test_a_block_that_does_not_end_is_dropped_and_the_next_one_is_read() -> None:
    endless = block(1, 5 * MOST)[:-1]

    assert steps(ControlWire(), [*endless, *block(2, 3), *block(3, MOST - 10)]) == [2, 3]


def test_a_reorg_that_does_not_end_is_dropped() -> None:
    old: list[tuple[NodeHeader, Updates]] = [(header(number), {}) for number in range(1, MOST)]
    endless = reorg_messages(old, [])[:-1]

    later = [message for number in range(MOST, MOST + 9) for message in block(number, MOST - 10)]

    assert steps(ControlWire(), [*endless, *later])[-1] == MOST + 8


def test_any_number_of_blocks_below_the_limit_is_read() -> None:
    messages = [message for number in range(1, 10) for message in block(number, MOST - 10)]

    assert steps(ControlWire(), messages) == list(range(1, 10))


def test_over_the_seed_wire_an_endless_block_comes_in_parts() -> None:
    burn = (1).to_bytes(4, "little") + (20).to_bytes(8, "little") + b"\xab" * 20 + (7).to_bytes(8, "little")
    burn += (-60).to_bytes(4, "little", signed=True) + (60).to_bytes(4, "little") + (5).to_bytes(16, "little")

    parts = [step for step in SeedWire().receive(burn * 5 * MOST) if isinstance(step, AssembledBlock)]

    assert [part.part for part in parts] == [0, 1, 2, 3]
    assert all(len(part.updates[POOL]) <= MOST + 1 for part in parts)


async def test_blocks_of_many_updates_fill_the_buffer_before_their_number_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(feed_reader, "MOST_WAITING_EVENTS", 100)
    monkeypatch.setattr(feed_reader, "READ_BYTES", 1000)
    connections: list[asyncio.StreamWriter] = []

    async def feed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for data in frames([message for number in range(1, 20) for message in block(number, 40)]):
            writer.write(data)

    reading = FeedReader(tmp_path / "exex.sock", ControlWire, 1000, asyncio.Event())
    async with await asyncio.start_unix_server(feed, tmp_path / "exex.sock"):
        task = asyncio.create_task(reading.run())
        taken: list[object] = []
        while len(connections) < 2:
            await asyncio.sleep(0.2)
            waiting: list[object] = []
            while step := reading.take():
                waiting.append(step)
            assert len([step for step in waiting if isinstance(step, AssembledBlock)]) <= 3
            taken += waiting
        task.cancel()

    assert taken[0] == StepLost(in_reorg=False)
    assert [step.number for step in taken if isinstance(step, AssembledBlock)][:3] == [1, 2, 3]


async def test_a_feed_that_sends_nothing_but_violations_leaves_one_step_to_take(tmp_path: Path) -> None:
    async def feed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for data in frames(block(5, 0)[1:] * 1000):
            writer.write(data)

    changed = asyncio.Event()
    reading = FeedReader(tmp_path / "exex.sock", ControlWire, 1000, changed)
    async with await asyncio.start_unix_server(feed, tmp_path / "exex.sock"):
        task = asyncio.create_task(reading.run())
        await changed.wait()
        await asyncio.sleep(0.5)
        task.cancel()

    assert reading.take() == StepLost(in_reorg=False)
    assert reading.take() is None
