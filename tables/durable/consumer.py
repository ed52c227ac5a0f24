"""Faust's consumer, made to deliver chunks and to read on from where the state is, not from commits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from faust.transport.consumer import ensure_TP, ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.kafka.groups import raise_group_failure
from tables.durable.chunks import Fetched
from tables.durable.partition_tasks import PartitionTasks
from tables.durable.seeking import Seeking

log = logging.getLogger(__name__)

BACKLOG_CHUNKS = 4
"""Nothing more is fetched for a partition with so many chunks waiting."""
POLL_S = 0.25
"""A seek waits no longer than this for the fetch under way."""
FETCH_WAIT_MS = 500


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc] # faust is not typed
    async def on_start(self) -> None:
        await super().on_start()
        self._watching = self.thread_loop.create_task(self._watch())

    async def _watch(self) -> None:
        """Without a group this worker would get no partitions, and wait for ever."""
        try:
            await raise_group_failure(self._ensure_consumer())
        except KafkaError as error:
            asyncio.run_coroutine_threadsafe(self.app.crash(error), self.parent_loop)

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        """Faust has no setting for how long a fetch may wait."""
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commits are for those who watch the lag: one that fails is no reason to stop."""
        try:
            await self._ensure_consumer().commit(
                {driver.ensure_aiokafka_TP(tp): at for tp, at in offsets.items() if tp in self.assignment()}
            )
        except KafkaError as error:
            log.info("offsets are not committed: %s", error)
            return False
        return True


class NothingRead(dict[TP, int | None]):
    """In place of what Faust remembers to have delivered: by that it drops what is fetched again after a seek."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass

    def update(self, *args: Any, **kwargs: Any) -> None:
        pass


class Consumer(driver.Consumer):  # type: ignore[misc] # faust is not typed
    """A message is a Fetched of one partition; its offset is that of the last record."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seeking = Seeking(super().seek_wait)
        self._read_offset = NothingRead()
        self._assigned = False
        self._room = asyncio.Event()
        self._held: set[TP] = set()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _partition_tasks(self) -> PartitionTasks:
        tasks: PartitionTasks = self.app.durable.tasks
        return tasks

    def _is_source(self, tp: TP) -> bool:
        return tp.topic in self.app.durable.sources

    def _is_ordinary(self, tp: TP) -> bool:
        """Of an agent that only reads the table: delivered and committed as Faust does it."""
        return not self._is_source(tp) and not self._is_changelog_tp(tp)

    # seeking

    async def perform_seek(self) -> None:
        """To where the state is, once it is recovered. Faust's own goes to the committed offsets.

        Faust does not look at what is raised here, so it ends the worker. A recovery that a rebalance has overtaken
        ends here too; the next one takes the partitions over.
        """
        if not self._assigned:
            return
        sources = {tp for tp in self.assignment() if self._is_source(tp)}
        try:
            async with asyncio.timeout(self.app.conf.broker_request_timeout * 0.9):
                await self._partition_tasks.take_over(sources)
        except Exception as error:
            log.exception("partitions %s cannot be taken over", sorted({tp.partition for tp in sources}))
            await self.app.crash(error)
            raise

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        if partitions:
            await self.seeking.to(partitions)

    # what may be fetched

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Only changelogs being recovered. The others wait until Faust has cleared its queues for the last time: it
        resumes them too early, and what arrives before the clearing is lost."""
        tpset = ensure_TPset(tps)
        recovering = self.app.tables.recovery.active_tps if self.app.in_recovery else set()
        self._held |= tpset - recovering
        super().resume_partitions(tpset & recovering)

    def resume_held(self) -> None:
        held, self._held = self._held, set()
        super().resume_partitions(held & self.assignment())
        self._room.set()

    def chunk_applied(self) -> None:
        """A task has room for more."""
        self._room.set()

    def _fetchable(self) -> set[TP]:
        return {tp for tp in self._active_partitions if not self._is_source(tp) or self._has_room(tp.partition)}

    def _has_room(self, partition: int) -> bool:
        return self._partition_tasks.backlog(partition) < BACKLOG_CHUNKS

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """The chunk in hand is finished while the partition is still assigned."""
        self._assigned = False
        self.stop_flow()
        self.app.flow_control.suspend()
        self._held.clear()
        await self._partition_tasks.release()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._assigned = True
        await super().on_partitions_assigned(assigned, generation_id)

    # fetching

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Faust's own seeks when the flow is stopped; here only recovery seeks."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        generation = self.app.consumer_generation_id
        for tp, message in await self._fetch():
            if self.should_stop or not self.flow_active or self.app.consumer_generation_id != generation:
                return
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            yield tp, message

    async def _fetch(self) -> list[tuple[TP, ConsumerMessage]]:
        self._room.clear()
        async with self.seeking.fetching:
            if fetchable := self._fetchable():
                records = await self._getmany(active_partitions=fetchable, timeout=POLL_S)
                tps = {ensure_TP(tp): each for tp, each in records.items()}
                return [(tp, message) for tp in tps for message in self._messages(tp, tps[tp])]
        await self.wait(self._room, timeout=POLL_S)
        return []

    def _messages(self, tp: TP, records: Sequence[ConsumerRecord]) -> Iterator[ConsumerMessage]:
        if self._is_ordinary(tp):
            return (self._to_message(tp, record) for record in records)
        return (self._message(tp, chunk) for chunk in self.seeking.chunks(tp, records))

    def _message(self, tp: TP, fetched: Fetched) -> ConsumerMessage:
        last = fetched.chunk.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            (),
            None,
            fetched,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # acknowledging

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """The offsets between two messages are those of a chunk's records, not missing ones."""
        if self._is_ordinary(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """Of a source: what is folded and written, whatever the stream has acknowledged."""
        if self._is_ordinary(tp):
            offset: int | None = super()._new_offset(tp)
            return offset
        position = self._partition_tasks.positions(tp.partition).get(tp.topic)
        acked = self._acked[tp]
        if position is None or not acked:
            return None
        if max(acked) < position:
            acked.clear()
            self._acked_index[tp].clear()
        return position

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust complains of streams by their acknowledgements, which say nothing here."""
