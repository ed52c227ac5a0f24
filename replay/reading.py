"""Reads one partition of the topics and replays it up to a block."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from protocols.types import Block
from replay.partition_replay import PartitionReplay, is_at
from settings import Settings
from streams.kafka.records import Header, Undecodable, decode_snapshot
from streams.kafka.topic_reader import read_batches, read_range, reading_consumer
from streams.kafka.topics import Topics
from tables.partition import Changes

LOOK_AHEAD_MS = 10 * 60_000
"""Before a block is folded, snapshots are read up to so long after it: they may have been taken at that block."""


SLICE = 500
"""Records that are folded until the next batch may come in."""
Batch = list[ConsumerRecord]


class BlockNotReached(Exception):
    def __init__(self, topic: str, partition: int, block: Block, head: Header | None) -> None:
        last = f"block {head.number} {head.hash}" if head else "no block"
        super().__init__(
            f"{topic} partition {partition} ends at {last}, before block {block.number} {block.hash}; "
            "a bridge may be writing it at this moment; try again"
        )


class Sink(Protocol):
    """Takes the blocks of the replay in the order of the topic, including those that a later reorg drops."""

    def update(self, record: ConsumerRecord) -> None: ...

    def block(self, header: Header, changes: Changes) -> None: ...


class Progress(NamedTuple):
    records: Callable[[int], None]
    """Called with the number of records of each batch."""
    sink: Sink | None


async def replay_partition(
    settings: Settings, topics: Topics, number: int, target: Block, progress: Progress
) -> PartitionReplay:
    """Raises BlockNotReached, and Stalled where Kafka delivers nothing."""
    replay = PartitionReplay(settings.memory_blocks)
    async with AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(reading_consumer(settings))
        listings = TopicPartition(topics.whitelist, number)
        replay.list_pools(await read_range(consumer, listings, *await _range(consumer, listings)))
        chain = TopicPartition(topics.chain, number)
        snapshots = SnapshotReader(await stack.enter_async_context(reading_consumer(settings)), topics, number, replay)
        await snapshots.open()
        start, end = await _range(consumer, chain)
        async with aclosing(_read_ahead(read_batches(consumer, chain, start, end))) as batches:
            async for records in batches:
                await snapshots.read_until(records[-1].timestamp + LOOK_AHEAD_MS)
                for at in range(0, len(records), SLICE):
                    some = records[at : at + SLICE]
                    progress.records(len(some))
                    if _fold(replay, some, target, progress.sink):
                        return replay
                    await asyncio.sleep(0)
    raise BlockNotReached(topics.chain, number, target, replay.head)


async def _read_ahead(batches: AsyncGenerator[Batch]) -> AsyncGenerator[Batch]:
    """The next batch is fetched while one is folded."""
    async with aclosing(batches):
        following = asyncio.ensure_future(anext(batches, None))
        try:
            while (batch := await following) is not None:
                following = asyncio.ensure_future(anext(batches, None))
                yield batch
        finally:
            following.cancel()
            await asyncio.wait([following])


def _fold(replay: PartitionReplay, records: list[ConsumerRecord], target: Block, sink: Sink | None) -> bool:
    """Whether the target is reached."""
    for record in records:
        if sink and record.key is not None:
            sink.update(record)
        changes = replay.fold(record)
        if changes is None or replay.head is None:
            continue
        if sink:
            sink.block(replay.head, changes)
        if is_at(replay, target):
            return True
    return False


class SnapshotReader:
    """Fills a replay's buffer from the topic `snapshots`, as far as the replay needs it."""

    def __init__(self, consumer: AIOKafkaConsumer, topics: Topics, number: int, replay: PartitionReplay) -> None:
        self._consumer = consumer
        self._tp = TopicPartition(topics.snapshots, number)
        self._replay = replay
        self._batches: AsyncIterator[list[ConsumerRecord]] | None = None
        self._read_until_ms = -1

    async def open(self) -> None:
        self._batches = read_batches(self._consumer, self._tp, *await _range(self._consumer, self._tp))

    async def read_until(self, timestamp_ms: int) -> None:
        while self._batches is not None and self._read_until_ms < timestamp_ms:
            records = await anext(self._batches, None)
            if records is None:
                self._batches = None
                return
            for record in records:
                self._add(record)
            self._read_until_ms = records[-1].timestamp

    def _add(self, record: ConsumerRecord) -> None:
        try:
            self._replay.snapshots.add(decode_snapshot(record.value or b""), record.offset)
        except Undecodable:
            self._replay.undecodable += 1


async def _range(consumer: AIOKafkaConsumer, tp: TopicPartition) -> tuple[int, int]:
    begins, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
    return begins[tp], ends[tp]
