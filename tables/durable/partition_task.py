"""One partition while it is assigned to this worker: its chunks, of all topics, folded in the order of their arrival.

Per chunk: folded in memory; side records and appends acknowledged; rows acknowledged on the changelog, the position
last; one WriteBatch. A crash in between is healed when the partition is taken over next: what the changelog has and the
database has not is read again, and what is after the position is folded again.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from faust.types import TP

from tables.durable.changelog import Written, send_appends, send_records, send_rows
from tables.durable.chunks import Fetched, Folded, Processor
from tables.durable.database import OWN, POSITION, Database, Position, Stamp, Stamped, position_bytes, read_position
from tables.durable.seeking import Seeking

log = logging.getLogger(__name__)


class ReservedKey(Exception):
    def __init__(self, key: bytes) -> None:
        super().__init__(f"row {key!r}: keys that begin with {OWN!r} are the durable layer's own")


class MissingRange(NamedTuple):
    """Records that a topic has no more: first up to, but without, end."""

    topic: str
    first: int
    end: int


class TaskContext(Protocol):
    """What a task needs of its worker."""

    processor: Processor
    contiguous: frozenset[str]
    """The source topics in which a missing offset is a missing record."""

    @property
    def changelog(self) -> str: ...

    @property
    def seeking(self) -> Seeking: ...

    def producer(self) -> AIOKafkaProducer: ...

    async def read_changelog(self, partition: int, first: int, end: int) -> list[Stamped]: ...

    async def earliest(self, tp: TP) -> int: ...

    def chunk_applied(self) -> None:
        """A task has room for more."""
        ...

    def fenced(self, task: "PartitionTask") -> None:
        """Another worker has taken the partition over, and Kafka has not revoked it here yet."""
        ...

    async def crash(self, error: BaseException) -> None: ...


class PartitionTask:
    def __init__(self, partition: int, database: Database, context: TaskContext, generation: int) -> None:
        stored = database.position()
        self.partition = partition
        self.database = database
        self.offsets: dict[str, int] = dict(read_position(stored[1]).offsets) if stored else {}
        """Source topic to the offset of the next record; a topic never read is not in it."""
        self.stamp = Stamp(max(stored[0].epoch + 1 if stored else 1, generation), 0)
        self.open = True
        """Nothing is written any more once this is False."""
        self._processor = context.processor
        self._context = context
        self._recovered = False
        self._closing = False
        self._writer = secrets.token_hex(8)
        self._queue: deque[Fetched] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        return len(self._queue)

    def accept(self, fetched: Fetched) -> None:
        """The consumer stops fetching for a partition with a backlog, so this need not block."""
        if self.open and not self._closing:
            self._queue.append(fetched)
            self._arrived.set()

    async def take_over(self, to_rewrite: Iterable[bytes], missing: Iterable[MissingRange]) -> None:
        """Writes the position with the new epoch, so that the next worker to take over has a higher one.

        `to_rewrite` are rows whose last record in the changelog is an older write: they are written once more.
        """
        async with self._busy():
            await self._rewrite(to_rewrite)
            if not self.open:
                return
            await self._processor.recovered(self.partition, self.database, self.stamp.epoch)
            self._recovered = True
            if not self.open:
                self._end()
                return
            for topic, first, end in missing:
                await self._skip(topic, first, end)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"partition {self.partition}")

    async def close(self, timeout_s: float) -> None:
        """The chunk in hand is finished, if it can be in that time; what is queued is dropped."""
        self._closing = True
        self._queue.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("partition %d: a chunk is not written after %.0f s and is given up", self.partition, timeout_s)
        if self._task:
            self._task.cancel()
        self._end()

    def _end(self) -> None:
        self.open = False
        if self._recovered:
            self._recovered = False
            self._processor.revoked(self.partition)

    @asynccontextmanager
    async def _busy(self) -> AsyncIterator[None]:
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._queue:
                    async with self._busy():
                        await self._apply(self._queue.popleft())
                    self._context.chunk_applied()
        except Exception as error:
            log.exception("partition %d failed", self.partition)
            self.open = False
            await self._context.crash(error)

    async def _apply(self, fetched: Fetched) -> None:
        topic = fetched.chunk.topic
        if fetched.end <= self.offsets[topic] or not await self._continues(fetched):
            return
        chunk = fetched.after(self.offsets[topic])
        folded = await self._processor.fold(self.partition, self.database, chunk)
        await self._write(folded, {**self.offsets, topic: fetched.end})

    async def _continues(self, fetched: Fetched) -> bool:
        """Whether nothing is missing between the position and the chunk. If something is, it is fetched again."""
        topic, first = fetched.chunk.topic, fetched.chunk.records[0].offset
        position = self.offsets[topic]
        contiguous = topic in self._context.contiguous
        if fetched.start <= position and (first <= position or not contiguous):
            return True
        if not self._context.seeking.is_latest(fetched):
            return False
        tp = TP(topic, self.partition)
        earliest = await self._context.earliest(tp)
        if earliest > position and contiguous:
            await self._skip(topic, position, earliest)
            return await self._continues(fetched)
        await self._context.seeking.back(tp, max(position, earliest), first)
        return False

    async def _skip(self, topic: str, first: int, end: int) -> None:
        log.error("%s partition %d: records %d to %d were deleted unread", topic, self.partition, first, end - 1)
        folded = self._processor.missing(self.partition, self.database, topic, first, end - 1)
        await self._write(folded, {**self.offsets, topic: end})

    async def _rewrite(self, keys: Iterable[bytes]) -> None:
        rows = {key: self.database.get(key) for key in keys if not key.startswith(OWN)}
        await self._write(Folded(rows, []), self.offsets)

    async def _write(self, folded: Folded, offsets: dict[str, int]) -> None:
        self.stamp = self.stamp.next()
        rows = {key: Stamped(key, value, self.stamp) for key, value in _checked(folded.rows).items()}
        rows[POSITION] = Stamped(POSITION, position_bytes(Position(offsets, self._writer)), self.stamp)
        await send_records(self._context.producer(), folded.sends)
        await send_appends(self._context.producer(), self.partition, folded.appends)
        if not self.open:
            return
        runs = await send_rows(self._context.producer(), self._context.changelog, self.partition, rows.values())
        theirs = await self._between(runs)
        if not self.open:
            return
        self.offsets = offsets
        offset = max([self.database.offset, *(run.last for run in runs)])
        if theirs:
            await self._merge(theirs, offset, rows)
        else:
            self.database.write(rows.values(), offset)

    async def _between(self, runs: list[Written]) -> list[Stamped]:
        """What others wrote to the changelog after its last record that is in the database."""
        if not self.open:
            return []
        known = self.database.offset
        theirs: list[Stamped] = []
        for run in runs:
            if run.first > known + 1:
                theirs += await self._context.read_changelog(self.partition, known + 1, run.first)
            known = max(known, run.last)
        return theirs

    async def _merge(self, theirs: list[Stamped], offset: int, ours: Mapping[bytes, Stamped]) -> None:
        log.warning("partition %d: %d records in the changelog were not known", self.partition, len(theirs))
        merge = self.database.merge(theirs, offset, ours)
        outdated = [key for key in merge.replaced if not key.startswith(OWN)]
        if outdated and self._recovered:
            self._processor.outdated(self.partition, outdated)
        if any(self._is_fenced_by(row) for row in theirs):
            log.error("partition %d: another worker has taken it over", self.partition)
            self._end()
            self._context.fenced(self)
        elif merge.to_rewrite:
            await self._rewrite(merge.to_rewrite)

    def _is_fenced_by(self, row: Stamped) -> bool:
        if row.key != POSITION or row.value is None or row.stamp.epoch < self.stamp.epoch:
            return False
        return read_position(row.value).writer != self._writer


def _checked(rows: Mapping[bytes, bytes | None]) -> Mapping[bytes, bytes | None]:
    for key in rows:
        if key.startswith(OWN):
            raise ReservedKey(key)
    return rows
