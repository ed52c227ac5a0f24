"""The topic `chain` compared with the node: every block on every partition, once."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from lab.devnet.chain.evm import Rpc
from settings import Settings
from streams.kafka.clients import client_options, fetch_limits
from streams.kafka.records import Gap, Head, Reorg, Update
from streams.kafka.records import decode_chain as chain_record
from streams.kafka.topics import topics

NUMBERS_PER_REQUEST = 500


class PartitionContinuity:
    """One partition, read from its first record."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.next_offset = 0
        self.heads: dict[int, str] = {}
        self.last = 0
        self._term = 0
        self._updates: set[tuple[str, str, int]] = set()

    def follow(self, offset: int, record: Update | Head | Reorg | Gap) -> list[str]:
        """What is wrong with it."""
        self.next_offset = offset + 1
        if record.term is not None and record.term < self._term:
            return []
        if record.term is not None and record.term > self._term:
            self._term, self._updates = record.term, set()
        where = f"chain[{self.partition}] offset {offset}"
        match record:
            case Update():
                self._updates.add((record.block.hash, record.pool, record.part))
                return []
            case Gap() if self.heads and record.first <= min(self.heads):  # replaces everything published so far
                self._cut(record.first - 1)
                return []
            case Gap():
                return [f"{where}: gap of blocks {record.first} to {record.last}: {record.reason}"]
            case Reorg():
                known = self.heads.get(record.ancestor.number) == record.ancestor.hash
                self._cut(record.ancestor.number)
                return [] if known else [f"{where}: a reorg to {record.ancestor}, which was never a head here"]
            case Head():
                return [f"{where}: {each}" for each in self._headed(record)]

    def _headed(self, head: Head) -> list[str]:
        block, last = head.block, self.last
        if self.heads.get(block.number) == block.hash:
            return []
        wrong = []
        if self.heads and (block.number, block.parent) != (last + 1, self.heads[last]):
            wrong.append(f"block {block.number} has parent {block.parent}, the head is {last} {self.heads[last]}")
        arrived = sum(update[0] == block.hash for update in self._updates)
        if arrived != head.updates:
            wrong.append(f"{arrived} of {head.updates} updates of block {block.number} stand before it")
        self._updates = set()
        self.heads[block.number], self.last = block.hash, block.number
        return wrong

    def _cut(self, ancestor: int) -> None:
        self.heads = {number: known for number, known in self.heads.items() if number <= ancestor}
        self.last, self._updates = ancestor, set()


class TopicContinuity:
    """Reads each time from where it stopped, and keeps only the heads."""

    def __init__(self, settings: Settings, rpc: Rpc) -> None:
        self._settings = settings
        self._rpc = rpc
        self._partitions = [PartitionContinuity(partition) for partition in range(settings.partitions)]
        self._dead_letters = 0

    def differences(self, tip_hash: str) -> list[str]:
        wrong = asyncio.run(self._read())
        for followed in self._partitions:
            if followed.heads.get(followed.last) != tip_hash:
                wrong.append(f"chain[{followed.partition}] ends with block {followed.last}, not with the tip")
            wrong += self._against_node(followed)
        return wrong

    def _against_node(self, followed: PartitionContinuity) -> list[str]:
        numbers = sorted(followed.heads)
        wrong = [
            f"chain[{followed.partition}] has no block {n + 1}" for n in numbers[:-1] if n + 1 not in followed.heads
        ]
        recent = numbers[-NUMBERS_PER_REQUEST:]
        blocks = self._rpc.batch([("eth_getBlockByNumber", [hex(number), False]) for number in recent])
        return wrong + [
            f"chain[{followed.partition}] has {followed.heads[number]} as block {number}, the node {block['hash']}"
            for number, block in zip(recent, blocks, strict=True)
            if followed.heads[number] != block["hash"]
        ]

    async def _read(self) -> list[str]:
        names = topics(self._settings.chain)
        consumer = AIOKafkaConsumer(**client_options(self._settings), **fetch_limits(), enable_auto_commit=False)
        await consumer.start()
        try:
            wrong = await self._follow(consumer, names.chain)
            return wrong + await self._new_dead_letters(consumer, names.dead_letters)
        finally:
            await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer, topic: str) -> list[str]:
        at = {TopicPartition(topic, followed.partition): followed for followed in self._partitions}
        consumer.assign(list(at))
        for partition, followed in at.items():
            consumer.seek(partition, followed.next_offset)
        ends = await consumer.end_offsets(list(at))
        wrong: list[str] = []
        while any(followed.next_offset < ends[partition] for partition, followed in at.items()):
            for partition, records in (await consumer.getmany(timeout_ms=1000)).items():
                for record in records:
                    wrong += at[partition].follow(record.offset, chain_record(record.value or b""))
        return wrong

    async def _new_dead_letters(self, consumer: AIOKafkaConsumer, topic: str) -> list[str]:
        partitions = await self._partitions_of(consumer, topic)
        ends = sum((await consumer.end_offsets(partitions)).values())
        more, self._dead_letters = ends - self._dead_letters, ends
        return [f"{more} dead letters"] if more else []

    async def _partitions_of(self, consumer: AIOKafkaConsumer, topic: str) -> Sequence[TopicPartition]:
        await consumer.topics()
        return [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
