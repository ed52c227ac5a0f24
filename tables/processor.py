"""The processor of the worker's table: chunks of the three topics in; rows, snapshot requests and dead letters out."""

import logging
import time
from collections.abc import Callable, Collection, Iterator

from aiokafka import ConsumerRecord

from protocols.types import PoolId
from streams.kafka import records
from streams.kafka.records import QUOTED_KEY_BYTES, SnapshotRequest, Undecodable, dead_letter
from streams.kafka.topics import Topics
from tables.durable.chunks import Chunk, Folded, Rows
from tables.fold import fold_missing_chain, invalidate
from tables.healing import load
from tables.metrics import RECORDS, WAITED, count_pool
from tables.partition import Changes, Partition, PoolChange, Rejected, Source
from tables.pool import Reason, Waiting, WaitingKind
from tables.record_fold import fold_record
from tables.requests import SnapshotRequests

log = logging.getLogger(__name__)

Send = tuple[str, bytes, bytes]
"""Topic, key, value."""


class PartitionProcessor:
    def __init__(self, topics: Topics, memory_blocks: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.partitions: dict[int, Partition] = {}
        """Recovered and ours."""
        self._changes: dict[int, Changes] = {}
        self._topics = topics
        self._sources: dict[str, Source] = {
            topics.whitelist: "whitelist",
            topics.chain: "chain",
            topics.snapshots: "snapshots",
        }
        self._memory_blocks = memory_blocks
        self._clock = clock
        self._requests = SnapshotRequests(clock)
        self._outdated: dict[int, set[PoolId]] = {}
        self._waiting_since_s: dict[PoolId, float] = {}

    def recovered(self, partition: int, rows: Rows) -> None:
        changes, invalidated, forgotten = load(self._memory_blocks, rows.get, rows.scan)
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

    def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded:
        changes, source = self._changes[partition], self._sources[chunk.topic]
        for pool in self._outdated.pop(partition, ()):
            invalidate(changes, pool, Reason(WaitingKind.OUTDATED, "another worker wrote to its rows"))
        sends: list[Send] = []
        for record in chunk.records:
            if error := fold_record(changes, source, record):
                sends.append(self._undecodable(record, error))
        RECORDS.labels(source).inc(len(chunk.records))
        sends += [self._rejected(chunk, each) for each in changes.rejected]
        for change in changes.pools():
            _log_change(change, changes.partition.head)
            count_pool(change.before, change.after)
            self._time_waiting(change)
            if request := self._requests.change(change, changes.partition):
                sends.append(self._send_request(request))
        return self._commit(partition, source, chunk.records[-1].offset, sends)

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        """Records that were not read yet are gone from the topic."""
        source = self._sources[topic]
        log.error("records %d to %d of %s partition %d are gone before they were read", first, last, topic, partition)
        if source == "chain":
            detail = f"records {first} to {last} of {topic} are gone before they were read"
            fold_missing_chain(self._changes[partition], detail, last)
        return self._commit(partition, source, last, [])

    def _commit(self, partition: int, source: Source, offset: int, sends: list[Send]) -> Folded:
        changes = self._changes[partition]
        self._changes[partition] = Changes(changes.partition)
        return Folded(changes.commit(source, offset), sends)

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
        letter = dead_letter(origin, rejected.reason, pool.encode(), rejected.record.encode())
        return self._topics.dead_letters, pool.encode(), records.encode_record(letter)

    def _undecodable(self, record: ConsumerRecord, error: Undecodable) -> Send:
        origin = record.topic, record.partition, record.offset
        log.error("%s partition %d record %d goes to dead letters: %s", *origin, error)
        letter = dead_letter(origin, str(error), record.key, record.value)
        return self._topics.dead_letters, (record.key or b"")[:QUOTED_KEY_BYTES], records.encode_record(letter)


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
