"""The tasks of the partitions that are assigned to this worker: opened after recovery, closed when they are revoked."""

import asyncio
from collections.abc import Iterable, Mapping

import faust
from aiokafka import AIOKafkaProducer
from faust.types import TP

from tables.durable.changelog import read_rows
from tables.durable.chunks import Fetched, Processor
from tables.durable.database import Stamped
from tables.durable.partition_task import MissingRange, PartitionTask
from tables.durable.seeking import Seeking

LONGEST_CLOSE_S = 20.0
FENCED_SESSIONS = 2
"""Session time-outs after which Kafka should have revoked a partition that another worker writes."""


class Fenced(Exception):
    def __init__(self, partition: int) -> None:
        super().__init__(f"another worker writes partition {partition}, and Kafka has not revoked it here")


class PositionAhead(Exception):
    def __init__(self, topic: str, partition: int, position: int, end: int) -> None:
        super().__init__(
            f"{topic} partition {partition} ends at record {end}, but the table has read up to {position}: the topic "
            f"is not the one it was; set ARENA_APPLICATION to another id, or restore the topic"
        )


class PartitionsDiffer(Exception):
    def __init__(self, partitions: Mapping[str, set[int]]) -> None:
        held = ", ".join(f"{topic} {sorted(each)}" for topic, each in sorted(partitions.items()))
        super().__init__(f"this worker was assigned different partitions of topics that belong together: {held}")


class PartitionTasks:
    """Implements TaskContext."""

    def __init__(self, table: faust.Table, processor: Processor, contiguous: Iterable[str]) -> None:
        self.processor = processor
        self.contiguous = frozenset(contiguous)
        self._table = table
        self._app: faust.App = table.app
        self._tasks: dict[int, PartitionTask] = {}
        self._opening: dict[int, PartitionTask] = {}
        self._rebalance = 0

    # what the table, the store and the consumer ask

    def get(self, partition: int) -> PartitionTask | None:
        return self._tasks.get(partition)

    def open(self) -> set[int]:
        return {partition for partition, task in self._tasks.items() if task.open}

    def has(self, partition: int) -> bool:
        """Also while it is being taken over."""
        return partition in self._tasks or partition in self._opening

    def accept(self, fetched: Fetched) -> None:
        if task := self._tasks.get(fetched.chunk.partition):
            task.accept(fetched)

    def positions(self, partition: int) -> Mapping[str, int]:
        task = self._tasks.get(partition)
        return dict(task.offsets) if task else {}

    def backlog(self, partition: int) -> int:
        task = self._tasks.get(partition)
        return task.backlog if task else 0

    # assignment

    async def take_over(self, sources: set[TP]) -> None:
        """Once the rows are recovered: opens a task per partition and seeks its topics to where it has read them."""
        await self.release()
        if not sources:
            return
        rebalance = self._rebalance
        self._check_partitions(sources)
        first = await self._app.consumer.earliest_offsets(*sources)
        end = await self._app.consumer.highwaters(*sources)
        if rebalance != self._rebalance:
            return
        self._opening = {partition: self._task(partition) for partition in sorted({tp.partition for tp in sources})}
        missing = self._set_positions(sources, first, end)
        to_rewrite = self._table.data.to_rewrite
        await asyncio.gather(
            *(task.take_over(to_rewrite.pop(each, ()), missing[each]) for each, task in self._opening.items())
        )
        if rebalance != self._rebalance:
            return
        self._tasks, self._opening = self._opening, {}
        await self.seeking.to({tp: self._tasks[tp.partition].offsets[tp.topic] for tp in sources})
        for task in self._tasks.values():
            task.start()

    async def release(self) -> None:
        """The partitions are revoked, or the worker stops."""
        self._rebalance += 1
        tasks = [*self._tasks.values(), *self._opening.values()]
        self._tasks, self._opening = {}, {}
        timeout_s = min(LONGEST_CLOSE_S, self._app.conf.broker_session_timeout)
        await asyncio.gather(*(task.close(timeout_s) for task in tasks))

    def _check_partitions(self, sources: set[TP]) -> None:
        """Raises PartitionsDiffer."""
        actives = {tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == self.changelog}
        topics = {tp.topic for tp in sources}
        by_topic = {topic: {tp.partition for tp in sources if tp.topic == topic} for topic in topics}
        if any(each != actives for each in by_topic.values()):
            raise PartitionsDiffer({**by_topic, self.changelog: actives})

    def _task(self, partition: int) -> PartitionTask:
        return PartitionTask(partition, self._table.data.databases[partition], self, self._app.consumer_generation_id)

    def _set_positions(
        self, sources: set[TP], first: Mapping[TP, int], end: Mapping[TP, int]
    ) -> dict[int, list[MissingRange]]:
        """Of topics that a task has never read, and of those that have deleted what it has not read. By partition."""
        missing: dict[int, list[MissingRange]] = {partition: [] for partition in self._opening}
        for tp in sorted(sources):
            offsets = self._opening[tp.partition].offsets
            position = offsets.setdefault(tp.topic, first[tp])
            if position > end[tp]:
                raise PositionAhead(tp.topic, tp.partition, position, end[tp])
            if position < first[tp] and tp.topic in self.contiguous:
                missing[tp.partition].append(MissingRange(tp.topic, position, first[tp]))
            else:
                offsets[tp.topic] = max(position, first[tp])
        return missing

    # what the tasks ask

    @property
    def changelog(self) -> str:
        return str(self._table.changelog_topic_name)

    @property
    def seeking(self) -> Seeking:
        seeking: Seeking = self._app.consumer.seeking
        return seeking

    def producer(self) -> AIOKafkaProducer:
        return self._app.producer._ensure_producer()

    async def read_changelog(self, partition: int, first: int, end: int) -> list[Stamped]:
        return await read_rows(self._app.transport.client_options(), self.changelog, partition, first, end)

    async def earliest(self, tp: TP) -> int:
        return int((await self._app.consumer.earliest_offsets(tp))[tp])

    def chunk_applied(self) -> None:
        self._app.consumer.chunk_applied()

    async def crash(self, error: BaseException) -> None:
        await self._app.crash(error)

    def fenced(self, task: PartitionTask) -> None:
        """Kafka revokes the partitions of a worker that lost them; one where it does not has to end."""
        delay_s = FENCED_SESSIONS * self._app.conf.broker_session_timeout
        asyncio.get_running_loop().call_later(delay_s, self._crash_if_still_assigned, task)

    def _crash_if_still_assigned(self, task: PartitionTask) -> None:
        if self._tasks.get(task.partition) is task:
            self._app.loop.create_task(self.crash(Fenced(task.partition)))
