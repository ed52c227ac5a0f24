"""The table: which partitions are ours, their lanes, and how an application reads them."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import faust
from aiokafka import AIOKafkaProducer
from faust.types import TP, EventT
from yarl import URL

from tables.durable.changelog import read_rows, send_records
from tables.durable.chunks import Fetched, Processor, Rows
from tables.durable.database import Database, Stamped
from tables.durable.partition_task import Gone, PartitionTask
from tables.durable.store import DurableStore

log = logging.getLogger(__name__)

RECOVERY_CHUNKS = 4
"""Chunks that recovery gathers before it applies them."""
LONGEST_TURN_S = 20.0
SUPERSEDED_SESSIONS = 2
"""Session time-outs until a worker that has lost a partition should have been told."""


class Progress(NamedTuple):
    """Of the recovery of a partition, in changelog records."""

    offset: int
    end: int


class Superseded(Exception):
    def __init__(self, partition: int) -> None:
        super().__init__(f"another worker writes partition {partition}, and Kafka still says that it is ours")


class PositionAhead(Exception):
    def __init__(self, topic: str, partition: int, position: int, end: int) -> None:
        super().__init__(
            f"{topic} partition {partition} ends at record {end}, but the table has read up to {position}: the topic "
            f"is not the one it was; give the application another id, or restore the topic"
        )


class ChangelogCut(Exception):
    def __init__(self, topic: str, partition: int, offset: int, earliest: int) -> None:
        super().__init__(
            f"{topic} partition {partition} begins at record {earliest}, and the rows here are up to {offset - 1}; "
            f"what lies between is lost: the topic's cleanup.policy must be compact alone"
        )


class PartitionsDiffer(Exception):
    def __init__(self, partitions: Mapping[str, set[int]]) -> None:
        held = ", ".join(f"{topic} {sorted(each)}" for topic, each in sorted(partitions.items()))
        super().__init__(f"this worker was given different partitions of topics that belong together: {held}")


class DurableTable(faust.Table):  # type: ignore[misc] # faust is not typed
    """Rows of bytes by keys of bytes, written by folding chunks and by nothing else."""

    def __init__(
        self,
        app: faust.App,
        *,
        name: str,
        processor: Processor,
        contiguous: Iterable[str],
        partitions: int,
        **options: Any,
    ) -> None:
        """`contiguous` are the source topics in which a missing offset is a lost record: not compacted."""
        super().__init__(
            app,
            name=name,
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            recovery_buffer_size=RECOVERY_CHUNKS,
            standby_buffer_size=1,
            **options,
        )
        self.processor = processor
        self.contiguous = frozenset(contiguous)
        self._lanes: dict[int, PartitionTask] = {}
        self._opening: dict[int, PartitionTask] = {}
        self._term = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, event: EventT) -> None:
        """Queues the chunk of an agent's event for the task of its partition."""
        fetched: Fetched = event.message.value
        if lane := self._lanes.get(fetched.chunk.partition):
            lane.accept(fetched)

    def rows(self, partition: int) -> Rows | None:
        """None while the partition is not ours, or not recovered."""
        lane = self._lanes.get(partition)
        return lane.database if lane and lane.open else None

    def ready(self, partition: int) -> bool:
        return self.rows(partition) is not None

    def positions(self, partition: int) -> Mapping[str, int]:
        """Source topic to the offset of the next record; empty while the partition is not ready."""
        lane = self._lanes.get(partition)
        return dict(lane.offsets) if lane else {}

    def owned(self) -> set[int]:
        return {partition for partition, lane in self._lanes.items() if lane.open}

    def progress(self) -> dict[int, Progress]:
        """Of the partitions that are assigned to us and being recovered."""
        recovery = self.app.tables.recovery
        return {
            tp.partition: Progress(recovery.active_offsets[tp] or 0, end)
            for tp, end in recovery.active_highwaters.items()
            if tp in recovery.active_tps and tp.partition not in self._lanes and end is not None
        }

    async def send(self, topic: str, key: bytes, value: bytes) -> None:
        """A side record, acknowledged."""
        await send_records(self.producer(), [(topic, key, value)])

    # what follows is the lanes', the store's and the consumer's

    @property
    def changelog(self) -> str:
        return str(self.changelog_topic_name)

    def producer(self) -> AIOKafkaProducer:
        return self.app.producer._ensure_producer()

    async def read_changelog(self, partition: int, first: int, end: int) -> list[Stamped]:
        return await read_rows(self.app.transport.client_options(), self.changelog, partition, first, end)

    async def earliest(self, topic: str, partition: int) -> int:
        tp = TP(topic, partition)
        return int((await self.app.consumer.earliest_offsets(tp))[tp])

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        await self.app.consumer.seek_wait({TP(topic, partition): offset})
        if lane := self._lanes.get(partition):
            lane.seek = self.app.consumer.seeks

    def drained(self) -> None:
        self.app.consumer.room()

    async def crashed(self, error: BaseException) -> None:
        await self.app.crash(error)

    def superseded(self, lane: PartitionTask) -> None:
        """Kafka tells a worker that lost its partitions; one that it does not tell is of no use to anyone."""
        delay_s = SUPERSEDED_SESSIONS * self.app.conf.broker_session_timeout
        self.loop.call_later(delay_s, self._still_superseded, lane)

    def _still_superseded(self, lane: PartitionTask) -> None:
        if self._lanes.get(lane.partition) is lane:
            self.loop.create_task(self.crashed(Superseded(lane.partition)))

    def is_lane_open(self, partition: int) -> bool:
        return partition in self._lanes or partition in self._opening

    def backlog(self, partition: int) -> int:
        lane = self._lanes.get(partition)
        return lane.backlog if lane else 0

    def missed_changelog(self, partition: int, offset: int) -> None:
        """A chunk does not continue where the database is."""
        task = self.loop.create_task(self._go_back(partition, offset))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_back(self, partition: int, offset: int) -> None:
        earliest = await self.earliest(self.changelog, partition)
        if earliest > offset > 0:
            return await self.crashed(ChangelogCut(self.changelog, partition, offset, earliest))
        if earliest > offset and (database := self.data.databases.get(partition)):
            database.write([], earliest - 1)
        log.warning("%s partition %d: going back to %d", self.changelog, partition, max(offset, earliest))
        await self.app.consumer.seek_wait({TP(self.changelog, partition): max(offset, earliest)})

    async def take_over(self, sources: set[TP]) -> dict[TP, int]:
        """Called when recovery is complete. Returns from where the sources are to be read."""
        await self.release()
        if not sources:
            return {}
        term = self._term
        topics = {tp.topic for tp in sources}
        partitions = {tp.partition for tp in sources}
        actives = {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == self.changelog}
        by_topic = {topic: {tp.partition for tp in sources if tp.topic == topic} for topic in topics}
        if any(each != actives for each in by_topic.values()):
            raise PartitionsDiffer({**by_topic, self.changelog: actives})
        first = await self.app.consumer.earliest_offsets(*sources)
        end = await self.app.consumer.highwaters(*sources)
        if term != self._term:
            return {}
        self._opening = {partition: self._lane(partition) for partition in sorted(partitions)}
        gone = {partition: self._gone(lane, topics, first, end) for partition, lane in self._opening.items()}
        await asyncio.gather(
            *(lane.begin(self.data.stale.pop(each, ()), gone[each]) for each, lane in self._opening.items())
        )
        if term != self._term:
            return {}
        self._lanes, self._opening = self._opening, {}
        return {tp: self._lanes[tp.partition].offsets[tp.topic] for tp in sources}

    def start_lanes(self, seek: int) -> None:
        for lane in self._lanes.values():
            lane.seek = seek
            lane.start()

    async def release(self) -> None:
        """The partitions are no longer ours, or the worker stops."""
        self._term += 1
        lanes = [*self._lanes.values(), *self._opening.values()]
        self._lanes, self._opening = {}, {}
        patience_s = min(LONGEST_TURN_S, self.app.conf.broker_session_timeout)
        await asyncio.gather(*(lane.close(patience_s) for lane in lanes))

    def _lane(self, partition: int) -> PartitionTask:
        database: Database = self.data.databases[partition]
        generation = self.app.consumer_generation_id
        return PartitionTask(partition, database, self, generation)

    def _gone(
        self, lane: PartitionTask, topics: set[str], first: Mapping[TP, int], end: Mapping[TP, int]
    ) -> list[Gone]:
        """Sets the lane's positions of topics that it never read, too."""
        gone = []
        for topic in sorted(topics):
            tp = TP(topic, lane.partition)
            position = lane.offsets.setdefault(topic, first[tp])
            if position > end[tp]:
                raise PositionAhead(topic, lane.partition, position, end[tp])
            if position < first[tp] and topic in self.contiguous:
                gone.append(Gone(topic, position, first[tp]))
            else:
                lane.offsets[topic] = max(position, first[tp])
        return gone

    def _new_store_by_url(self, url: str | URL) -> DurableStore:
        return DurableStore(url, self.app, self, table_name=self.name, key_type=bytes, value_type=bytes, loop=self.loop)

    async def on_stop(self) -> None:
        await self.release()
        await super().on_stop()
