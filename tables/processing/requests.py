"""Which snapshots the owned pools need, when each was last asked for, and which live pools are audited at random."""

import random
from collections.abc import Callable, Iterator

import msgspec

from protocols.types import PoolId
from streams.kafka.records import AUDIT, UNREAD, SnapshotRequest
from tables.live import Live
from tables.partition import Partition, PoolChange
from tables.pool import Pool, Waiting, WaitingKind

HELD_FACTOR = 12
"""A pool that holds a snapshot ahead of the head asks so many times less often: its block may never come."""
LONGEST_RETRY_S = 600.0
"""A pool whose snapshots fail asks after twice the time of before, up to this."""
FAILURES = {WaitingKind.UNREADABLE, WaitingKind.UNINITIALIZED}
"""Answers that another request alone does not change."""
RECENT_BLOCKS = 4096
"""So many blocks that were applied to pools are remembered: pools are drawn from them by their activity."""


def snapshot_request(pool: Pool, head: int | None) -> SnapshotRequest | None:
    """The snapshot that the pool needs now, if any."""
    life = pool.life
    if isinstance(life, Waiting):
        if pool.held or (head or 0) < life.ask_from or pool.listed.from_block == UNREAD:
            return None
        return SnapshotRequest(pool.listed.pool, str(life.reason), max(life.since - 1, life.ask_from, 0))
    if life.audit_from is None or head is None or head < life.audit_from:
        return None
    return SnapshotRequest(pool.listed.pool, AUDIT, life.audit_from)


class OpenRequest:
    """Of a pool that waits, or that is to be audited now or at a later head."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.asked: SnapshotRequest | None = None
        self.asked_s = 0.0
        self.failures = 0

    def wait_s(self, pool: Pool, retry_s: float) -> float:
        if pool.held:
            return retry_s * HELD_FACTOR
        return float(max(retry_s, min(retry_s * 2 ** min(self.failures - 1, 30), LONGEST_RETRY_S)))


class SnapshotRequests:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[PoolId, OpenRequest] = {}
        self._live = LivePools()

    def load(self, partition: Partition) -> None:
        """A partition that is owned from now on; its requests are due at once."""
        for pool_id, pool in partition.pools.items():
            if _is_open(pool):
                self._open[pool_id] = OpenRequest(partition)
            if isinstance(pool.life, Live):
                self._live.add(pool_id, partition)

    def forget(self, pool_id: PoolId) -> None:
        self._open.pop(pool_id, None)
        self._live.remove(pool_id)

    def change(self, change: PoolChange, partition: Partition) -> SnapshotRequest | None:
        """What a pool asks for at once after a change; None where it needs nothing, has asked, or asks later."""
        pool_id, before, pool = change
        self._follow_activity(change, partition)
        if pool is None or not _is_open(pool):
            self._open.pop(pool_id, None)
            return None
        open_ = self._open.setdefault(pool_id, OpenRequest(partition))
        request = snapshot_request(pool, partition.head)
        if request is None:
            open_.asked = None
        elif _is_failure(pool) and _has_same_events(before, pool):
            open_.failures += 1
            open_.asked, open_.asked_s = request, self._clock()
        elif open_.asked != request or _may_be_initialized(pool, open_):
            open_.failures = 0
            open_.asked, open_.asked_s = request, self._clock()
            return request
        return None

    def _follow_activity(self, change: PoolChange, partition: Partition) -> None:
        pool_id, before, pool = change
        if pool is None or not isinstance(pool.life, Live):
            self._live.remove(pool_id)
            return
        self._live.add(pool_id, partition)
        if before is not None:
            self._live.record(pool_id, pool.story.applied - before.story.applied)

    def due(self, retry_s: float) -> Iterator[SnapshotRequest]:
        """Requests that had no answer for that long, or for longer where they fail; and audits whose block has come."""
        now = self._clock()
        for pool_id, open_ in self._open.items():
            pool, head = open_.partition.pools[pool_id], open_.partition.head
            request = snapshot_request(msgspec.structs.replace(pool, held=None) if pool.held else pool, head)
            if request is None:
                continue
            if pool.held and open_.asked is None:
                open_.asked, open_.asked_s = request, now
            elif open_.asked is None or now - open_.asked_s >= open_.wait_s(pool, retry_s):
                open_.asked, open_.asked_s = request, now
                yield request

    def audits(self, count: float) -> Iterator[SnapshotRequest]:
        """Audits of about so many live pools: half of them of any pool, half by the blocks that were applied to it."""
        for pool_id, partition in self._live.draw(count):
            yield SnapshotRequest(partition.pools[pool_id].listed.pool, AUDIT, partition.head or 0)


def _is_open(pool: Pool) -> bool:
    return isinstance(pool.life, Waiting) or pool.life.audit_from is not None


def _is_failure(pool: Pool) -> bool:
    return isinstance(pool.life, Waiting) and pool.life.reason.kind in FAILURES


def _has_same_events(before: Pool | None, after: Pool) -> bool:
    """It changed by an answer to its request, not by a block."""
    if before is None or not isinstance(before.life, Waiting) or not isinstance(after.life, Waiting):
        return True
    return before.life.pending == after.life.pending


def _may_be_initialized(pool: Pool, open_: OpenRequest) -> bool:
    """An event came for a pool that had no price."""
    return open_.failures > 0 and isinstance(pool.life, Waiting) and pool.life.reason.kind is WaitingKind.UNINITIALIZED


class LivePools:
    """Drawn from in constant time, however many they are."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._pools: list[tuple[PoolId, Partition]] = []
        self._places: dict[PoolId, int] = {}
        self._recent: list[PoolId] = []
        self._next = 0

    def add(self, pool_id: PoolId, partition: Partition) -> None:
        place = self._places.setdefault(pool_id, len(self._pools))
        self._pools[place : place + 1] = [(pool_id, partition)]

    def remove(self, pool_id: PoolId) -> None:
        place = self._places.pop(pool_id, None)
        if place is None:
            return
        last = self._pools.pop()
        if last[0] != pool_id:
            self._pools[place] = last
            self._places[last[0]] = place

    def record(self, pool_id: PoolId, blocks: int) -> None:
        """Blocks that were applied to the pool."""
        for _ in range(min(blocks, RECENT_BLOCKS)):
            self._recent[self._next : self._next + 1] = [pool_id]
            self._next = (self._next + 1) % RECENT_BLOCKS

    def draw(self, count: float) -> Iterator[tuple[PoolId, Partition]]:
        """About so many, with repetitions; the fraction is a probability."""
        for _ in range(int(count) + (self._random.random() < count % 1) if self._pools else 0):
            recent = self._random.choice(self._recent) if self._recent and self._random.random() < 0.5 else None
            place = self._places.get(recent) if recent else None
            yield self._random.choice(self._pools) if place is None else self._pools[place]
