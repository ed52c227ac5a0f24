"""GET /status/: every partition's head, lag and number of pools, from all workers."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

from protocols.types import Block
from tables.partition import Partition
from tables.processing import metrics
from tables.views.envelope import ServedChain
from tables.views.memory import reason
from web.answers import json_answer
from web.errors import HttpError
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions, Owners
from web.route_table import Route


class PoolCounts(msgspec.Struct, frozen=True):
    live: int
    waiting: int


class PartitionStatus(msgspec.Struct, frozen=True):
    partition: int
    worker: str
    """Its URL."""
    ready: bool
    """Its table is recovered."""
    head: Block | None
    head_timestamp: int | None
    """Seconds since the epoch."""
    lag_blocks: int | None
    """Behind the partition with the newest head."""
    lag_seconds: float | None
    """Since the head's timestamp."""
    pools: PoolCounts
    reasons: dict[str, int]
    """How many pools wait, by the kind of reason."""


class StatusAnswer(msgspec.Struct, frozen=True):
    chain: str
    chain_id: int | None
    ready: bool
    """Every partition is recovered and has a head, and no pool waits."""
    head: int | None
    """Number of the newest."""
    finalized: int | None
    pools: PoolCounts
    reasons: dict[str, int]
    partitions: list[PartitionStatus]


class StatusPart(msgspec.Struct, frozen=True):
    """What one worker says. It is read of another worker's StatusAnswer, which may be of an earlier version."""

    partitions: list[PartitionStatus]
    chain_id: int | None = None
    finalized: int | None = None


class StatusHandler:
    def __init__(self, owned: OwnedPartitions, owners: Owners, forwarding: Forwarding, served: ServedChain) -> None:
        self._owned = owned
        self._owners = owners
        self._forwarding = forwarding
        self._served = served

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/status/",
                self._status,
                "Every partition's head, lag and number of pools",
                [StatusAnswer],
                errors=[503],
            )
        ]

    async def _status(self, request: web.Request) -> web.StreamResponse:
        parts = [self._own_part(), *map(_part, await self._forwarding.to_others(request))]
        return json_answer(merged(self._served.name, parts))

    def _own_part(self) -> StatusPart:
        owned = self._owned.owned()
        chains = [partition.chain for index in owned if (partition := self._owned.get(index))]
        ids = [self._served.configured_id, *(chain.chain_id for chain in chains)]
        finalized = [chain.finality.finalized for chain in chains]
        return StatusPart([self._row(index) for index in owned], _first(ids), _highest(finalized))

    def _row(self, index: int) -> PartitionStatus:
        partition = self._owned.get(index)
        head = partition.chain.head if partition else None
        status, reasons = count_pools([partition] if partition else [])
        return PartitionStatus(
            partition=index,
            worker=self._owners.own_url(),
            ready=partition is not None,
            head=Block(head.number, head.hash) if head else None,
            head_timestamp=head.timestamp if head else None,
            lag_blocks=None,
            lag_seconds=max(0.0, round(time.time() - head.timestamp, 3)) if head else None,
            pools=PoolCounts(status["live"], status["waiting"]),
            reasons=dict(reasons),
        )


def count_pools(partitions: Iterable[Partition]) -> tuple[Counter[str], Counter[str]]:
    """By status, and of those that have no state to serve by the kind of their reason."""
    status, reasons = Counter[str](), Counter[str]()
    for partition in partitions:
        for pool in partition.pools.values():
            status[metrics.status(pool)] += 1
            if why := reason(partition, pool):
                reasons[str(why.kind)] += 1
    return status, reasons


def _part(body: bytes) -> StatusPart:
    """Of another worker's answer. Raises HttpError."""
    try:
        return msgspec.json.decode(body, type=StatusPart)
    except msgspec.DecodeError as error:
        sentence = f"another worker's status cannot be read ({error}); is it of another version?"
        raise HttpError(503, sentence) from error


def merged(chain: str, parts: Sequence[StatusPart]) -> StatusAnswer:
    """Of all workers."""
    rows = sorted((row for each in parts for row in each.partitions), key=lambda row: row.partition)
    newest = _highest(row.head.number if row.head else None for row in rows)
    waiting = sum(row.pools.waiting for row in rows)
    return StatusAnswer(
        chain=chain,
        chain_id=_first(each.chain_id for each in parts),
        ready=all(row.ready and row.head for row in rows) and not waiting,
        head=newest,
        finalized=_highest(each.finalized for each in parts),
        pools=PoolCounts(sum(row.pools.live for row in rows), waiting),
        reasons=dict(sum((Counter(row.reasons) for row in rows), Counter[str]())),
        partitions=[_with_lag(row, newest) for row in rows],
    )


def _first(values: Iterable[int | None]) -> int | None:
    return next((each for each in values if each is not None), None)


def _highest(values: Iterable[int | None]) -> int | None:
    return max((each for each in values if each is not None), default=None)


def _with_lag(row: PartitionStatus, newest: int | None) -> PartitionStatus:
    lag = newest - row.head.number if newest is not None and row.head else None
    return msgspec.structs.replace(row, lag_blocks=lag)
