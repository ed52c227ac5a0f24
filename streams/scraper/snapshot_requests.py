"""Which pools wait to be read: what the workers asked for, each pool once. The clock is the caller's."""

from collections.abc import Iterable

import msgspec

from protocols.types import PoolId, ProtocolName
from streams.kafka.records import SnapshotRequest

ANSWERED_S = 2.0
"""So long after an answer a wish for no more than that is one that crossed it on the way."""


RENEWED_S = 30.0
"""A wish for a later block that is not repeated for so long no longer stands above one for an earlier block."""


class QueuedRequest(msgspec.Struct, frozen=True):
    request: SnapshotRequest
    received_s: float
    not_until_s: float = 0.0
    """A pool that could not be read is tried again then, after the others."""


class Answer(msgspec.Struct, frozen=True):
    block: int
    at_s: float


class RequestQueue:
    def __init__(self) -> None:
        self._waiting: dict[PoolId, QueuedRequest] = {}
        self._in_hand: dict[PoolId, int] = {}
        """The block at which each pool is being read."""
        self._answered: dict[PoolId, Answer] = {}

    def add(self, wanted: SnapshotRequest, now_s: float) -> None:
        """The highest `not_before` of a pool wins; what is being read or was just answered is not asked for twice."""
        pool = wanted.pool.id
        answer = self._answered.get(pool)
        if wanted.not_before <= self._in_hand.get(pool, -1):
            return
        if answer and wanted.not_before <= answer.block and now_s < answer.at_s + ANSWERED_S:
            return
        held = self._waiting.get(pool)
        if held is None:
            self._waiting[pool] = QueuedRequest(wanted, now_s)
        elif wanted.not_before >= held.request.not_before or now_s > held.received_s + RENEWED_S:
            self._waiting[pool] = QueuedRequest(wanted, now_s, held.not_until_s)

    def take(self, protocol: ProtocolName, most: int, block: int, now_s: float) -> list[SnapshotRequest]:
        """The longest waiting that `block` serves; they are in hand until `answered` or `put_back`."""
        ready = [
            pool
            for pool, queued in self._waiting.items()
            if queued.request.pool.protocol == protocol
            and queued.request.not_before <= block
            and queued.not_until_s <= now_s
            and pool not in self._in_hand
        ][:most]
        self._in_hand.update(dict.fromkeys(ready, block))
        return [self._waiting.pop(pool).request for pool in ready]

    def complete(self, pool: PoolId, now_s: float) -> None:
        self._answered[pool] = Answer(self._in_hand.pop(pool), now_s)
        self._forget(now_s)

    def requeue(self, taken: Iterable[SnapshotRequest], now_s: float, delay_s: float = 0.0) -> None:
        for wanted in taken:
            self._in_hand.pop(wanted.pool.id, None)
            newer = self._waiting.pop(wanted.pool.id, None)
            if newer is None or newer.request.not_before < wanted.not_before:
                newer = QueuedRequest(wanted, now_s)
            self._waiting[wanted.pool.id] = QueuedRequest(newer.request, newer.received_s, now_s + delay_s)

    def is_being_read(self, pool: PoolId) -> bool:
        return pool in self._in_hand

    def count(self, protocol: ProtocolName) -> int:
        return sum(queued.request.pool.protocol == protocol for queued in self._waiting.values())

    def _forget(self, now_s: float) -> None:
        while self._answered:
            pool, answer = next(iter(self._answered.items()))
            if now_s < answer.at_s + ANSWERED_S:
                return
            del self._answered[pool]
