"""The queue of snapshot requests: each pool once. Pure: the caller passes the time."""

from collections.abc import Iterable

import msgspec

from protocols.types import PoolId, ProtocolName
from streams.kafka.records import SnapshotRequest

ANSWERED_S = 2.0
"""For so long after a snapshot a request that it serves is dropped: both were under way at the same time."""
RENEWED_S = 30.0
"""A request for a later block that is not repeated for so long gives way to one for an earlier block."""


class QueuedRequest(msgspec.Struct, frozen=True):
    request: SnapshotRequest
    received_s: float
    not_until_s: float = 0.0
    """A pool that could not be read is tried again then, after the others."""


FIRST_BACKOFF_S = 2.0
LONGEST_BACKOFF_S = 300.0


class Backoff(msgspec.Struct, frozen=True):
    """Of a pool that cannot be read."""

    failures: int
    until_s: float
    reason: str


class Answer(msgspec.Struct, frozen=True):
    block: int
    at_s: float


class RequestQueue:
    def __init__(self) -> None:
        self._queued: dict[PoolId, QueuedRequest] = {}
        self._being_read: dict[PoolId, int] = {}
        """The block at which each pool is being read."""
        self._answers: dict[PoolId, Answer] = {}
        self._backoffs: dict[PoolId, Backoff] = {}

    def add(self, request: SnapshotRequest, now_s: float) -> None:
        """The highest `not_before` of a pool wins. Drops what the running batch or a snapshot just taken serves."""
        pool = request.pool.id
        answer = self._answers.get(pool)
        if request.not_before <= self._being_read.get(pool, -1):
            return
        if answer and request.not_before <= answer.block and now_s < answer.at_s + ANSWERED_S:
            return
        queued = self._queued.get(pool)
        if queued is None:
            self._queued[pool] = QueuedRequest(request, now_s, self._not_until_s(pool))
        elif request.not_before >= queued.request.not_before or now_s > queued.received_s + RENEWED_S:
            self._queued[pool] = QueuedRequest(request, now_s, queued.not_until_s)

    def take(self, protocol: ProtocolName, most: int, block: int, now_s: float) -> list[SnapshotRequest]:
        """The oldest requests that `block` serves; until `complete` or `requeue` their pools are being read."""
        ready = [
            pool
            for pool, queued in self._queued.items()
            if queued.request.pool.protocol == protocol
            and queued.request.not_before <= block
            and queued.not_until_s <= now_s
            and pool not in self._being_read
        ][:most]
        self._being_read.update(dict.fromkeys(ready, block))
        return [self._queued.pop(pool).request for pool in ready]

    def complete(self, pool: PoolId, now_s: float) -> None:
        """The pool's snapshot is published."""
        self._answers[pool] = Answer(self._being_read.pop(pool), now_s)
        self._forget(now_s)

    def back_off(self, pool: PoolId, reason: str, now_s: float) -> bool:
        """The pool cannot be read: its requests wait, twice as long each time. Whether the reason is new."""
        before = self._backoffs.pop(pool, None)
        failures = before.failures + 1 if before else 1
        delay_s = min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 20), LONGEST_BACKOFF_S)
        self._backoffs[pool] = Backoff(failures, now_s + delay_s, reason)
        return before is None or before.reason != reason

    def reset_backoff(self, pool: PoolId) -> None:
        """The pool can be read."""
        self._backoffs.pop(pool, None)

    def requeue(self, taken: Iterable[SnapshotRequest], now_s: float) -> None:
        """Puts requests that were taken and not served behind the others."""
        for request in taken:
            self._being_read.pop(request.pool.id, None)
            newer = self._queued.pop(request.pool.id, None)
            if newer is None or newer.request.not_before < request.not_before:
                newer = QueuedRequest(request, now_s)
            self._queued[request.pool.id] = QueuedRequest(
                newer.request, newer.received_s, self._not_until_s(request.pool.id)
            )

    def is_being_read(self, pool: PoolId) -> bool:
        return pool in self._being_read

    def count(self, protocol: ProtocolName) -> int:
        return sum(queued.request.pool.protocol == protocol for queued in self._queued.values())

    def _not_until_s(self, pool: PoolId) -> float:
        backoff = self._backoffs.get(pool)
        return backoff.until_s if backoff else 0.0

    def _forget(self, now_s: float) -> None:
        """Answers of a while ago, and backoffs of pools that nobody has requested for long."""
        while self._backoffs:
            pool, backoff = next(iter(self._backoffs.items()))
            if now_s < backoff.until_s + LONGEST_BACKOFF_S:
                break
            del self._backoffs[pool]
        while self._answers:
            pool, answer = next(iter(self._answers.items()))
            if now_s < answer.at_s + ANSWERED_S:
                return
            del self._answers[pool]
