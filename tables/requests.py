"""Which snapshots the owned pools need now, and when each was last asked for."""

import random
from collections.abc import Callable, Iterable, Iterator

import msgspec

from protocols.types import PoolId
from streams.kafka.records import AUDIT, SnapshotRequest
from tables.live import Live
from tables.partition import Partition
from tables.pool import Pool, Waiting

HELD_FACTOR = 12
"""A pool that holds a snapshot ahead of the head asks so many times less often: its block may never come."""


def snapshot_request(pool: Pool, head: int | None) -> SnapshotRequest | None:
    """The snapshot that the pool needs now, if any."""
    life = pool.life
    if isinstance(life, Waiting):
        if pool.held or (head or 0) < life.ask_from:
            return None
        return SnapshotRequest(pool.listed.pool, str(life.reason), max(life.since - 1, life.ask_from, 0))
    if life.audit_from is None or head is None or head < life.audit_from:
        return None
    return SnapshotRequest(pool.listed.pool, AUDIT, life.audit_from)


class SnapshotRequests:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random.Random()
        self._asked: dict[PoolId, tuple[SnapshotRequest, float]] = {}

    def forget(self, pool_id: PoolId) -> None:
        self._asked.pop(pool_id, None)

    def changed(self, pool_id: PoolId, pool: Pool | None, head: int | None) -> SnapshotRequest | None:
        """What a pool asks for at once after a change; None where it needs nothing, or has asked already."""
        request = snapshot_request(pool, head) if pool else None
        asked = self._asked.get(pool_id)
        if request is None:
            self._asked.pop(pool_id, None)
        elif asked is None or asked[0] != request:
            self._asked[pool_id] = request, self._clock()
            return request
        return None

    def due(self, partitions: Iterable[Partition], retry_s: float) -> Iterator[SnapshotRequest]:
        """Requests without an answer whose last asking is longer ago than that, and audits whose block has come."""
        now = self._clock()
        for partition in partitions:
            for pool_id, pool in partition.pools.items():
                request = snapshot_request(msgspec.structs.replace(pool, held=None), partition.head)
                asked = self._asked.get(pool_id)
                if request and pool.held and asked is None:
                    self._asked[pool_id] = asked = request, now
                wait_s = retry_s * HELD_FACTOR if pool.held else retry_s
                if request and (asked is None or now - asked[1] >= wait_s):
                    self._asked[pool_id] = request, now
                    yield request

    def audits(self, partitions: Iterable[Partition], count: float) -> Iterator[SnapshotRequest]:
        """Audits of about so many live pools, the more likely the more blocks were applied to them."""
        live = [
            (pool.listed.pool, partition.head or 0, 1 + pool.story.applied)
            for partition in partitions
            for pool in partition.pools.values()
            if isinstance(pool.life, Live)
        ]
        whole = int(count) + (self._random.random() < count % 1)
        weights = [weight for _, _, weight in live]
        for metadata, head, _ in self._random.choices(live, weights, k=whole) if live else ():
            yield SnapshotRequest(metadata, AUDIT, head)
