"""Reads topic `updates` of all partitions outside any consumer group, each from where its owner's pools are."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from protocols.types import PoolId
from settings import Settings
from streams.kafka.records import Undecodable
from streams.kafka.topic_reader import reading_consumer
from streams.kafka.topics import partition_of, topics
from streams.updates import UpdatesRecord, decode_updates_record
from web.errors import HttpError
from web.stream.chain.assembly import Assembler
from web.stream.chain.changes import NO_TICKS, REMOVED, Change, Changes, Entry, entry
from web.stream.chain.partition_log import Group, LostRecords, PartitionLog
from web.stream.history import History, read_history
from web.stream.partitions import PartitionPools

log = logging.getLogger(__name__)

POLL_MS = 1000
RETRY_S = 0.5
RESTART_S = 2.0

ReadPools = Callable[[int, int | None], Awaitable[PartitionPools]]
"""Of a partition, as of a block or of the oldest after it that can be had; as of its head for None."""


class UpdatesSource:
    """Fills an assembler; `known` are the pools that its readers have, of which some may be gone by now."""

    def __init__(
        self, settings: Settings, read_pools: ReadPools, assembler: Assembler, known: Mapping[PoolId, Entry]
    ) -> None:
        self._settings = settings
        self._topic = topics(settings.chain).updates
        self._read_pools = read_pools
        self._assembler = assembler
        self._known = known
        self._logs: dict[int, PartitionLog] = {}

    async def run(self, assembled: Callable[[], Awaitable[None]]) -> None:
        """For ever; `assembled` is called whenever there may be something new."""
        while True:
            try:
                async with reading_consumer(self._settings) as consumer:
                    await self._read(consumer, assembled)
            except (KafkaError, OSError) as error:
                log.warning("the stream reads %s again in %.0f s: %s", self._topic, RESTART_S, error or type(error))
            await asyncio.sleep(RESTART_S)

    async def _read(self, consumer: AIOKafkaConsumer, assembled: Callable[[], Awaitable[None]]) -> None:
        partitions = [TopicPartition(self._topic, index) for index in range(self._settings.partitions)]
        consumer.assign(partitions)
        async with reading_consumer(self._settings) as earlier:
            for tp in partitions:
                await self._begin(consumer, tp, await read_history(earlier, tp, self._settings.memory_blocks))
        await assembled()
        async for tp, records in _batches(consumer):
            try:
                for record in records:
                    self._add(tp.partition, decode_updates_record(record.value or b""))
            except (LostRecords, Undecodable) as error:
                log.warning("the stream reads partition %d of %s anew: %s", tp.partition, tp.topic, error)
                await self._begin(consumer, tp, History([], (await consumer.end_offsets([tp]))[tp]))
            await assembled()

    async def _begin(self, consumer: AIOKafkaConsumer, tp: TopicPartition, history: History) -> None:
        """The end is taken before the pools are read, so that no change between the two is missed."""
        found = await self._pools(tp.partition, history.oldest())
        records = history.after(found.head.hash) if found.head else None
        if records is None:
            found, records = await self._pools(tp.partition, None), []
        consumer.seek(tp, history.end)
        self._logs[tp.partition] = PartitionLog(tp.partition, head=found.head)
        self._assembler.restart(tp.partition)
        self._assembler.add(tp.partition, self._anew(tp.partition, found))
        for record in records:
            self._add(tp.partition, record)

    async def _pools(self, partition: int, since: int | None) -> PartitionPools:
        """Once its owner answers."""
        while True:
            try:
                return await self._read_pools(partition, since)
            except HttpError as error:
                log.info("the stream waits for the pools of partition %d: %s", partition, error)
            await asyncio.sleep(RETRY_S)

    def _anew(self, partition: int, found: PartitionPools) -> Group:
        entries = [entry(bytes(view)) for view in found.pools]
        changes: Changes = {each.id: Change(each, NO_TICKS if each.is_live else None) for each in entries}
        for pool in self._known:
            if pool not in changes and partition_of(pool.encode(), self._settings.partitions) == partition:
                changes[pool] = REMOVED
        return Group(found.head, (changes,), is_anew=True)

    def _add(self, partition: int, record: UpdatesRecord) -> None:
        group = self._logs[partition].add(record)
        if group is not None:
            self._assembler.add(partition, group)


async def _batches(consumer: AIOKafkaConsumer) -> AsyncIterator[tuple[TopicPartition, list[ConsumerRecord]]]:
    while True:
        for tp, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            yield tp, records
