"""The processor of the worker's table: chunks of the three topics in; rows, snapshot requests and dead letters out."""

import asyncio
import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

from aiokafka import ConsumerRecord

from protocols.types import PoolId
from streams.kafka import records
from streams.kafka.quotation import QUOTED_KEY_BYTES
from streams.kafka.records import SnapshotRequest, Undecodable, dead_letter
from streams.kafka.topics import Topics
from tables.durable.chunks import Append, Chunk, Folded, Rows
from tables.fold import fold_missing_chain, invalidate
from tables.healing import Loaded, load
from tables.live import Live
from tables.partition import Changes, Partition, PoolChange, Rejected, Source
from tables.pool import Pool, Reason, Waiting, WaitingKind
from tables.processing.metrics import DEAD_LETTERS, LOST, RECORDS, WAITED, count_changes
from tables.processing.record_fold import fold_large_snapshot, fold_record
from tables.processing.requests import SnapshotRequests
from tables.processing.updates import UpdatesRecorder

log = logging.getLogger(__name__)

Send = tuple[str, bytes, bytes]
"""Topic, key, value."""
TURN_S = 0.005
"""Folding a chunk pauses after so long, so that other tasks run."""
LARGE_BYTES = 64 * 2**10
"""A snapshot of more bytes (some 800 ticks) is decoded in a thread."""
LARGE_POOLS = 50
LARGE_TICKS = 1000
"""The rows of more changed pools, or of more of their ticks, are encoded in a thread."""


class PartitionProcessor:
    def __init__(
        self, topics: Topics, memory_blocks: int, clock: Callable[[], float] = time.monotonic, *, updates: bool = True
    ) -> None:
        """`updates`: what changes is written to that topic."""
        self.partitions: dict[int, Partition] = {}
        """Recovered and ours."""
        self._changes: dict[int, Changes] = {}
        self._topics = topics
        self._has_updates = updates
        self._recorders: dict[int, UpdatesRecorder] = {}
        self._sources: dict[str, Source] = {
            topics.whitelist: "whitelist",
            topics.chain: "chain",
            topics.snapshots: "snapshots",
        }
        self._memory_blocks = memory_blocks
        self._clock = clock
        self._requests = SnapshotRequests(clock)
        self._loading = asyncio.Lock()
        self._outdated: dict[int, set[PoolId]] = {}
        self._waiting_since_s: dict[PoolId, float] = {}

    async def recovered(self, partition: int, rows: Rows, epoch: int = 0) -> None:
        """One partition is loaded at a time, in a thread, so that the loop turns on."""
        async with self._loading:
            loaded = await asyncio.to_thread(load, self._memory_blocks, rows.get, rows.scan)
            gc.freeze()  # what is loaded stays: no collection has to look at it
            self._add(partition, loaded)
            if self._has_updates:
                self._recorders[partition] = UpdatesRecorder(self._topics.updates, self.partitions[partition], epoch)

    def _add(self, partition: int, loaded_rows: Loaded) -> None:
        changes, invalidated, forgotten = loaded_rows
        loaded = changes.partition
        if forgotten:
            log.warning(
                "partition %d: its stored rows are not used, its pools ask for snapshots: %s", partition, forgotten
            )
        else:
            for pool, detail in invalidated.items():
                log.warning("%s waits for a snapshot: its stored rows are not used: %s", pool, detail)
        self.partitions[partition], self._changes[partition] = loaded, changes
        self._requests.load(loaded)
        log.info("partition %d is loaded: %d pools, head %s", partition, len(loaded.pools), loaded.head)

    def revoked(self, partition: int) -> None:
        self._changes.pop(partition, None)
        self._outdated.pop(partition, None)
        self._recorders.pop(partition, None)
        for pool in self.partitions.pop(partition, Partition(self._memory_blocks)).pools:
            self._requests.forget(pool)
            self._waiting_since_s.pop(pool, None)

    def outdated(self, partition: int, keys: Collection[bytes]) -> None:
        """Another worker wrote rows of these keys; which of its pools are torn is not known, so all are invalidated."""
        loaded = self.partitions.get(partition)
        if loaded is None:
            return
        written = {PoolId(part) for key in keys for part in key.decode().split("/") if part.startswith("0x")}
        self._outdated.setdefault(partition, set()).update(written & loaded.pools.keys())
        log.warning("another worker wrote %d rows of partition %d", len(keys), partition)

    async def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded:
        """Between two records the pools are as of the first: other tasks may read them while this one pauses."""
        changes, source, turn = self._changes[partition], self._sources[chunk.topic], Turn()
        for pool in self._outdated.pop(partition, ()):
            invalidate(changes, pool, Reason(WaitingKind.OUTDATED, "another worker wrote to its rows"))
        recorder = self._recorders.get(partition)
        sends: list[Send] = []
        for record in chunk.records:
            large = source == "snapshots" and len(record.value or b"") > LARGE_BYTES
            error = await fold_large_snapshot(changes, record) if large else fold_record(changes, source, record)
            if error:
                sends.append(self._undecodable(record, error))
            if turn.is_over:
                await turn.pause()
            if recorder and recorder.is_block_closed:
                await turn.pauses(recorder.close(changes))
        if recorder:
            await turn.pauses(recorder.close(changes))
        RECORDS.labels(source).inc(len(chunk.records))
        sends += [self._rejected(chunk, each) for each in changes.rejected]
        count_changes(changes.pools())
        for change in list(changes.pools()):
            _log_change(change, changes.partition.head)
            self._time_waiting(change)
            if request := self._requests.change(change, changes.partition):
                sends.append(self._send_request(request))
            if turn.is_over:
                await turn.pause()
        self._changes[partition] = Changes(changes.partition)
        encode = partial(_encode, changes, source, chunk.records[-1].offset, recorder)
        rows_written, appends = await asyncio.to_thread(encode) if _is_large(changes) else encode()
        return Folded(rows_written, sends, appends)

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        """Records were deleted from the topic before they were read."""
        source = self._sources[topic]
        LOST.labels(source).inc(last - first + 1)
        log.error("%d to %d of %s partition %d were deleted before they were read", first, last, topic, partition)
        if source == "chain":
            detail = f"records {first} to {last} of {topic} were deleted before they were read"
            fold_missing_chain(self._changes[partition], detail, last)
        changes = self._changes[partition]
        self._changes[partition] = Changes(changes.partition)
        if recorder := self._recorders.get(partition):
            deque(recorder.close(changes), maxlen=0)
        rows_written, appends = _encode(changes, source, last, recorder)
        return Folded(rows_written, [], appends)

    def due_requests(self, retry_s: float) -> Iterator[Send]:
        """Snapshots that are still needed and were last asked for longer ago than that; also audits that are due."""
        return map(self._send_request, self._requests.due(retry_s))

    def audits(self, count: float) -> Iterator[Send]:
        """Requests to audit about so many live pools."""
        return map(self._send_request, self._requests.audits(count))

    def _time_waiting(self, change: PoolChange) -> None:
        if change.after is not None and isinstance(change.after.life, Waiting):
            self._waiting_since_s.setdefault(change.pool_id, self._clock())
        elif (since_s := self._waiting_since_s.pop(change.pool_id, None)) is not None and change.after is not None:
            WAITED.observe(self._clock() - since_s)

    def _send_request(self, request: SnapshotRequest) -> Send:
        return self._topics.wanted, request.pool.id.encode(), records.encode_record(request)

    def _rejected(self, chunk: Chunk, rejected: Rejected) -> Send:
        pool = rejected.pool
        origin = chunk.topic, chunk.partition, rejected.offset
        DEAD_LETTERS.labels(self._sources[chunk.topic]).inc()
        letter = dead_letter(origin, rejected.reason, pool.encode(), rejected.record.encode())
        return self._topics.dead_letters, pool.encode(), records.encode_record(letter)

    def _undecodable(self, record: ConsumerRecord, error: Undecodable) -> Send:
        origin = record.topic, record.partition, record.offset
        DEAD_LETTERS.labels(self._sources[record.topic]).inc()
        log.error("%s partition %d record %d goes to dead letters: %s", *origin, error)
        letter = dead_letter(origin, str(error), record.key, record.value)
        return self._topics.dead_letters, (record.key or b"")[:QUOTED_KEY_BYTES], records.encode_record(letter)


class Turn:
    """Lets other tasks run as often as a turn of the loop has taken long enough."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()

    @property
    def is_over(self) -> bool:
        return time.perf_counter() - self._began_s > TURN_S

    async def pause(self) -> None:
        await asyncio.sleep(0)
        self._began_s = time.perf_counter()

    async def pauses(self, steps: Iterator[None]) -> None:
        """Takes all the steps."""
        for _ in steps:
            if self.is_over:
                await self.pause()


def _encode(
    changes: Changes, source: Source, offset: int, recorder: UpdatesRecorder | None
) -> tuple[Mapping[bytes, bytes | None], list[Append]]:
    return changes.commit(source, offset), recorder.appends() if recorder else []


def _is_large(changes: Changes) -> bool:
    """Whether its rows take longer to encode than a turn of the loop may."""
    ticks = 0
    for count, (_, before, after) in enumerate(changes.pools()):
        ticks += _count_ticks(before, after)
        if count > LARGE_POOLS or ticks > LARGE_TICKS:
            return True
    return False


def _count_ticks(before: Pool | None, after: Pool | None) -> int:
    """Ticks whose rows are written anew because the pool stands on another snapshot than before."""
    if after is None or not isinstance(after.life, Live):
        return 0
    same = before and isinstance(before.life, Live) and before.story.snapshots == after.story.snapshots
    return 0 if same else len(after.life.base.state.ticks)


def _log_change(change: PoolChange, head: int | None) -> None:
    """One line per fact that an operator acts on."""
    pool, before, after = change
    if after is None:
        log.info("%s is off the list", pool)
        return
    was_waiting = before is None or isinstance(before.life, Waiting)
    if isinstance(after.life, Waiting):
        if before is None or not isinstance(before.life, Waiting) or before.life.reason != after.life.reason:
            log.info("%s waits since block %d: %s", pool, after.life.since, after.life.reason)
    elif was_waiting:
        log.info("%s is live at block %s, by a snapshot of block %d", pool, head, after.life.reference.number)
    if before and after.story.divergences > before.story.divergences:
        log.warning("%s diverges from the chain: %s", pool, after.story.last_divergence)
    if before and after.story.rejected > before.story.rejected:
        log.info("%s rejects a snapshot: %s", pool, after.story.last_rejection)
