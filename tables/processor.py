"""All pools of the partitions that this worker owns: records in, rows and wishes out."""

import logging
import random
import time
from collections.abc import Callable, Collection, Iterator

import msgspec
from aiokafka import ConsumerRecord

from protocols.types import PoolId, pool_id
from streams.kafka import records
from streams.kafka.records import AUDIT, DeadLetter, SnapshotRequest, Undecodable, to_text
from streams.kafka.topics import Topics
from tables.chain import Illegible
from tables.durable.chunks import Chunk, Folded, Rows
from tables.metrics import RECORDS, WAITED, count_pool
from tables.partition import Partition, Source
from tables.pool import Live, Pool, Waiting, snapshot_request

log = logging.getLogger(__name__)


HELD_PATIENCE = 12
"""A pool that holds a snapshot ahead of the head asks so many times less often: the block may never come."""


class Misdirected(Undecodable):
    """It stands under another pool's key: which of the two it should be of, nobody knows."""

    def __init__(self, key: PoolId, pool: PoolId) -> None:
        super().__init__(f"the key is {key}, the record is of {pool}")


class PartitionProcessor:
    """The processor of the worker's one table (see tables/durable)."""

    def __init__(self, topics: Topics, memory_blocks: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.partitions: dict[int, Partition] = {}
        """Recovered and ours."""
        self._topics = topics
        self._sources: dict[str, Source] = {
            topics.whitelist: "whitelist",
            topics.chain: "chain",
            topics.snapshots: "snapshots",
        }
        self._memory_blocks = memory_blocks
        self._clock = clock
        self._random = random.Random()
        self._asked: dict[PoolId, tuple[SnapshotRequest, float]] = {}
        self._doubtful: set[PoolId] = set()
        self._waiting_since_s: dict[PoolId, float] = {}

    def recovered(self, partition: int, rows: Rows) -> None:
        loaded = Partition(self._memory_blocks)
        for pool, reason in loaded.load(rows.get, rows.scan):
            log.warning("%s waits for a snapshot: its stored rows do not agree: %s", pool, reason)
        self.partitions[partition] = loaded
        log.info("partition %d is loaded: %d pools, head %s", partition, len(loaded.pools), loaded.head)

    def revoked(self, partition: int) -> None:
        for pool in self.partitions.pop(partition, Partition(self._memory_blocks)).pools:
            self._asked.pop(pool, None)
            self._waiting_since_s.pop(pool, None)

    def outdated(self, partition: int, keys: Collection[bytes]) -> None:
        """Another worker wrote rows of these keys; which of its pools are torn is not known, so they ask the chain."""
        loaded = self.partitions.get(partition)
        if loaded is None:
            return
        written = {PoolId(part) for key in keys for part in key.decode().split("/") if part.startswith("0x")}
        self._doubtful |= written & loaded.pools.keys()
        log.warning("another worker wrote %d rows of partition %d", len(keys), partition)

    def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded:
        loaded, source = self.partitions[partition], self._sources[chunk.topic]
        sends: list[tuple[str, bytes, bytes]] = []
        for pool in self._doubtful & loaded.pools.keys():
            loaded.doubted(pool, "another worker wrote to its rows")
            self._doubtful.discard(pool)
        for record in chunk.records:
            try:
                _apply(loaded, source, record.offset, record.key, record.value)
            except Undecodable as error:
                sends.append(self._dead_letter(loaded, source, record, error))
        RECORDS.labels(source).inc(len(chunk.records))
        for impossible in loaded.take_impossible():
            letter = DeadLetter(
                chunk.topic, partition, impossible.offset, impossible.reason, impossible.pool, impossible.record
            )
            sends.append((self._topics.dead_letters, impossible.pool.encode(), records.encode_record(letter)))
        for pool, before, after in loaded.touched():
            _tell(pool, before, after, loaded.head)
            self._time(pool, after)
            if wanted := self._ask(pool, after, loaded.head):
                sends.append(self._wanted(wanted))
        return Folded(loaded.changes(source, chunk.records[-1].offset), sends)

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        """Records that were not read yet are gone from the topic."""
        loaded, source = self.partitions[partition], self._sources[topic]
        log.error("records %d to %d of %s partition %d are gone before they were read", first, last, topic, partition)
        if source == "chain":
            loaded.missed(f"gap: records {first} to {last} of {topic} are gone before they were read", last)
        return Folded(loaded.changes(source, last), [])

    def wishes(self, retry_s: float) -> Iterator[tuple[str, bytes, bytes]]:
        """What is still wanted and was last asked for longer ago than that; also audits that are due."""
        now = self._clock()
        for loaded in self.partitions.values():
            for pool_id_, pool in loaded.pools.items():
                wanted = snapshot_request(msgspec.structs.replace(pool, held=None), loaded.head)
                asked = self._asked.get(pool_id_)
                if wanted and pool.held and asked is None:
                    self._asked[pool_id_] = asked = wanted, now
                patience_s = retry_s * HELD_PATIENCE if pool.held else retry_s
                if wanted and (asked is None or now - asked[1] >= patience_s):
                    self._asked[pool_id_] = wanted, now
                    yield self._wanted(wanted)

    def audits(self, count: float) -> Iterator[tuple[str, bytes, bytes]]:
        """Wishes for about so many live pools, the more likely the more blocks touched them."""
        live = [
            (pool.listed.pool, loaded.head or 0, 1 + pool.story.applied)
            for loaded in self.partitions.values()
            for pool in loaded.pools.values()
            if isinstance(pool.life, Live)
        ]
        whole = int(count) + (self._random.random() < count % 1)
        weights = [weight for _, _, weight in live]
        for metadata, head, _ in self._random.choices(live, weights, k=whole) if live else ():
            yield self._wanted(SnapshotRequest(metadata, AUDIT, head))

    def _time(self, pool: PoolId, after: Pool | None) -> None:
        if after is not None and isinstance(after.life, Waiting):
            self._waiting_since_s.setdefault(pool, self._clock())
        elif (since_s := self._waiting_since_s.pop(pool, None)) is not None and after is not None:
            WAITED.observe(self._clock() - since_s)

    def _ask(self, pool: PoolId, after: Pool | None, head: int | None) -> SnapshotRequest | None:
        wanted = snapshot_request(after, head) if after else None
        asked = self._asked.get(pool)
        if wanted is None:
            self._asked.pop(pool, None)
        elif asked is None or asked[0] != wanted:
            self._asked[pool] = wanted, self._clock()
            return wanted
        return None

    def _wanted(self, wanted: SnapshotRequest) -> tuple[str, bytes, bytes]:
        return self._topics.wanted, wanted.pool.id.encode(), records.encode_record(wanted)

    def _dead_letter(
        self, loaded: Partition, source: Source, record: ConsumerRecord, error: Undecodable
    ) -> tuple[str, bytes, bytes]:
        """An update that cannot be read costs its pool a snapshot; a misdirected one is missed by its block's Head."""
        place = record.topic, record.partition, record.offset
        log.error("%s partition %d record %d goes to dead letters: %s", *place, error)
        pool = pool_id(to_text(record.key))
        if pool and source == "chain" and not isinstance(error, Misdirected):
            loaded.followed(Illegible(pool), record.offset)
        letter = DeadLetter(*place, str(error), to_text(record.key), to_text(record.value))
        return self._topics.dead_letters, record.key or b"", records.encode_record(letter)


def _apply(loaded: Partition, source: Source, offset: int, key: bytes | None, value: bytes | None) -> None:
    match source:
        case "whitelist":
            record = records.decode_listed(value) if value else None
            loaded.listed(_keyed(key, record.pool.id if record else None), record, offset)
        case "chain":
            followed = records.decode_chain(value or b"")
            if isinstance(followed, records.Update):
                _keyed(key, followed.pool)
            loaded.followed(followed, offset)
        case "snapshots":
            snapshot = records.decode_snapshot(value or b"")
            _keyed(key, snapshot.pool)
            loaded.observed(snapshot, offset)


def _keyed(key: bytes | None, expected: PoolId | None) -> PoolId:
    pool = pool_id(to_text(key))
    if pool is None:
        raise Undecodable(f"the key {to_text(key)!r} is not a pool's id")
    if expected is not None and pool != expected:
        raise Misdirected(pool, expected)
    return pool


def _tell(pool: PoolId, before: Pool | None, after: Pool | None, head: int | None) -> None:
    """One line for each thing that a person would want to know."""
    count_pool(before, after)
    if after is None:
        log.info("%s is off the list", pool)
        return
    if isinstance(after.life, Live) and (before is None or isinstance(before.life, Waiting)):
        log.info("%s is live at block %s, by a snapshot of block %d", pool, head, after.life.reference.number)
    if isinstance(after.life, Waiting) and (
        before is None or isinstance(before.life, Live) or before.life.reason != after.life.reason
    ):
        log.info("%s waits since block %d: %s", pool, after.life.since, after.life.reason)
    if before and after.story.divergences > before.story.divergences:
        log.warning("%s was not as the chain has it: %s", pool, after.story.last_divergence)
    if before and after.story.refused > before.story.refused:
        log.info("%s refuses a snapshot: %s", pool, after.story.last_refusal)
