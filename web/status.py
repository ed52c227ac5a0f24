"""GET /status/: every partition's head, lag and number of pools, from all workers."""

import time
from collections import Counter
from collections.abc import Iterable

import msgspec
from aiohttp import web

from protocols.types import Block
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


class StatusOfOther(msgspec.Struct, frozen=True):
    """What is read of another worker's answer; in a rolling upgrade it may be of an earlier version."""

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
        own = self._answer([self._row(index) for index in self._owned.owned()])
        others = [self._other(body) for body in await self._forwarding.to_others(request)]
        return json_answer(merged([own, *others]))

    def _other(self, body: bytes) -> StatusAnswer:
        """Raises HttpError."""
        try:
            other = msgspec.json.decode(body, type=StatusOfOther)
        except msgspec.DecodeError as error:
            raise HttpError(
                503, f"another worker's status cannot be read ({error}); is it of another version?"
            ) from error
        return StatusAnswer(
            self._served.name, other.chain_id, False, None, other.finalized, PoolCounts(0, 0), {}, other.partitions
        )

    def _answer(self, rows: list[PartitionStatus]) -> StatusAnswer:
        chains = [partition.chain for index in self._owned.owned() if (partition := self._owned.get(index))]
        ids = [self._served.configured_id, *(chain.chain_id for chain in chains)]
        return StatusAnswer(
            chain=self._served.name,
            chain_id=next((id_ for id_ in ids if id_ is not None), None),
            ready=False,
            head=None,
            finalized=max(
                (number for chain in chains if (number := chain.finality.finalized) is not None), default=None
            ),
            pools=PoolCounts(0, 0),
            reasons={},
            partitions=rows,
        )

    def _row(self, index: int) -> PartitionStatus:
        partition = self._owned.get(index)
        head = partition.chain.head if partition else None
        status = Counter(metrics.status(pool) for pool in partition.pools.values()) if partition else Counter[str]()
        waiting = (reason(partition, pool) for pool in partition.pools.values()) if partition else iter(())
        return PartitionStatus(
            partition=index,
            worker=self._owners.own_url(),
            ready=partition is not None,
            head=Block(head.number, head.hash) if head else None,
            head_timestamp=head.timestamp if head else None,
            lag_blocks=None,
            lag_seconds=max(0.0, round(time.time() - head.timestamp, 3)) if head else None,
            pools=PoolCounts(status["live"], status["waiting"]),
            reasons=dict(Counter(str(why.kind) for why in waiting if why)),
        )


def merged(answers: Iterable[StatusAnswer]) -> StatusAnswer:
    """Of all workers; what is about all partitions is made anew."""
    parts = list(answers)
    rows = sorted((row for each in parts for row in each.partitions), key=lambda row: row.partition)
    newest = max((row.head.number for row in rows if row.head), default=None)
    waiting = sum(row.pools.waiting for row in rows)
    return StatusAnswer(
        chain=parts[0].chain,
        chain_id=next((each.chain_id for each in parts if each.chain_id is not None), None),
        ready=all(row.ready and row.head for row in rows) and not waiting,
        head=newest,
        finalized=max((each.finalized for each in parts if each.finalized is not None), default=None),
        pools=PoolCounts(sum(row.pools.live for row in rows), waiting),
        reasons=dict(sum((Counter(row.reasons) for row in rows), Counter[str]())),
        partitions=[_with_lag(row, newest) for row in rows],
    )


def _with_lag(row: PartitionStatus, newest: int | None) -> PartitionStatus:
    lag = newest - row.head.number if newest is not None and row.head else None
    return msgspec.structs.replace(row, lag_blocks=lag)
