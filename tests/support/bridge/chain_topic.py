"""Reads the topic `chain` and asserts every rule of its records."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from settings import Settings
from streams.kafka.clients import fetch_limits
from streams.kafka.records import Gap, Head, Reorg, Undecodable, Update, decode_chain
from streams.kafka.topics import topics
from streams.node.blocks import NodeHeader
from tests.support.bridge.emitting_chain import Updates


class PartitionReplay:
    """Reads one partition and asserts all that a worker relies on."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Head, Updates]] = []
        self.pending: Updates = {}
        self.gaps: list[Gap] = []
        self.reorgs: list[Reorg] = []
        self.skip_undecodable = False
        self.term = 0
        self.outdated = 0
        """Number of records of an older term."""

    def read(self, value: bytes) -> None:
        try:
            self.take(decode_chain(value))
        except Undecodable:
            if not self.skip_undecodable:
                raise

    def take(self, record: Update | Head | Reorg | Gap) -> None:
        if record.term is not None and record.term < self.term:
            self.outdated += 1
            return
        if record.term is not None and record.term > self.term:
            self.term, self.pending = record.term, {}
        match record:
            case Update(pool, _, events):
                assert pool not in self.pending
                self.pending[pool] = events
            case Head(block, updates):
                assert updates == len(self.pending)
                assert not self.blocks or block.parent == self.blocks[-1][0].block.hash
                self.blocks.append((record, self.pending))
                self.pending = {}
            case Reorg(ancestor):
                self.reorgs.append(record)
                self.pending = {}
                kept = [block for block in self.blocks if block[0].block.number <= ancestor.number]
                assert not self.blocks or kept[-1][0].block.hash == ancestor.hash
                self.blocks = kept
            case Gap():
                self.gaps.append(msgspec.structs.replace(record, term=None))
                self.blocks, self.pending = [], {}


class ChainTopic:
    """All partitions of `chain`, replayed as they grow."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: int) -> None:
        self._consumer = consumer
        self.partitions = [PartitionReplay() for _ in range(partitions)]
        self.writer: asyncio.Task[None] | None = None

    async def read(self) -> None:
        if self.writer is not None and self.writer.done():
            self.writer.result()
        for tp, records in (await self._consumer.getmany(timeout_ms=100)).items():
            for record in records:
                self.partitions[tp.partition].read(record.value)

    async def until_head(self, head: NodeHeader, timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not all(part.blocks and part.blocks[-1][0].block.hash == head.hash for part in self.partitions):
                await self.read()

    async def until_gap(self, timeout_s: float = 60) -> Gap:
        async with asyncio.timeout(timeout_s):
            while not all(part.gaps for part in self.partitions):
                await self.read()
        return self.partitions[0].gaps[-1]

    @property
    def reorgs(self) -> list[int]:
        return [reorg.ancestor.number for reorg in self.partitions[0].reorgs]

    @property
    def gaps(self) -> list[Gap]:
        return self.partitions[0].gaps

    @property
    def blocks(self) -> list[tuple[str, Updates]]:
        """The blocks with the updates of all partitions."""
        chains = [[head.block for head, _ in part.blocks] for part in self.partitions]
        assert all(each == chains[0] for each in chains)
        merged: list[tuple[str, Updates]] = [(block.hash, {}) for block in chains[0]]
        for part in self.partitions:
            for (_, together), (_, updates) in zip(merged, part.blocks, strict=True):
                assert not together.keys() & updates.keys()
                together.update(updates)
        return merged


@asynccontextmanager
async def chain_topic(settings: Settings) -> AsyncIterator[ChainTopic]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest", **fetch_limits())
    async with consumer:
        consumer.assign([TopicPartition(topics(settings.chain).chain, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        yield ChainTopic(consumer, settings.partitions)
