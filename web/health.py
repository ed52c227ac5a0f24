"""What operators' machines ask: is the worker alive, is it ready, and its metrics."""

import time
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec
import prometheus_client
from aiohttp import web

from tables.live import Live
from tables.partition import Partition
from tables.processing import metrics
from web.answers import json_answer
from web.errors import ErrorAnswer, HttpError
from web.owners.ownership import OwnedPartitions, Owners
from web.route_table import Route
from web.status import count_pools

FRESH_S = 60.0
"""A head whose timestamp is older is not fresh."""


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True):
    status: Literal["ready"]
    partitions: list[int]
    """Of this worker."""
    pools: int
    waiting: int
    """Of its pools; /readyz is a 503 where they are more than the set share."""


class HealthHandlers:
    def __init__(self, owned: OwnedPartitions, owners: Owners, waiting_share: float) -> None:
        self._owned = owned
        self._waiting_share = waiting_share
        self._owners = owners

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/metrics", self._metrics, "For Prometheus", [], media_type="text/plain"),
            Route("GET", "/healthz", self._healthz, "503 where restarting would help", [Health], errors=[503]),
            Route("GET", "/readyz", self._readyz, "503 until the worker is ready to answer", [Readiness], errors=[503]),
        ]

    async def _healthz(self, _: web.Request) -> web.StreamResponse:
        if stalled := self._owners.stalled():
            raise HttpError(503, stalled)
        return json_answer(Health("ok"))

    async def _readyz(self, _: web.Request) -> web.StreamResponse:
        """Its partitions are recovered, their heads are fresh, and no more than the set share of its pools waits."""
        owned = self._owned.owned()
        if not owned:
            raise HttpError(503, "this worker owns no partition yet")
        partitions = {index: self._owned.require(index) for index in owned}
        waiting, pools = self._count_waiting(partitions.values())
        for index, partition in partitions.items():
            _check_head(index, partition)
        return json_answer(Readiness("ready", owned, pools, waiting))

    def _count_waiting(self, partitions: Collection[Partition]) -> tuple[int, int]:
        """The waiting pools, and all. Raises HttpError."""
        pools = [pool for partition in partitions for pool in partition.pools.values()]
        waiting = [pool.listed.pool.id for pool in pools if not isinstance(pool.life, Live)]
        if len(waiting) > self._waiting_share * len(pools):
            sentence = f"{len(waiting)} of {len(pools)} pools are waiting"
            raise HttpError(503, sentence, ErrorAnswer(sentence, waiting=list(waiting[:20])))
        return len(waiting), len(pools)

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        loaded = self._owned.loaded()
        _observe_pools([partition for index in loaded if (partition := self._owned.get(index))])
        metrics.HEAD.clear()
        metrics.LAG.clear()
        for index, partition in loaded.items():
            if head := partition.chain.head:
                metrics.HEAD.labels(index).set(head.number)
                metrics.LAG.labels(index).set(time.time() - head.timestamp)
        return web.Response(
            body=prometheus_client.generate_latest(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )


def _observe_pools(partitions: Sequence[Partition]) -> None:
    status, kinds = count_pools(partitions)
    for name in ("live", "waiting"):
        metrics.POOLS.labels(name).set(status[name])
    metrics.WAITING.clear()
    for kind, count in kinds.items():
        metrics.WAITING.labels(kind).set(count)


def _check_head(index: int, partition: Partition) -> None:
    if partition.chain.head is None:
        raise HttpError(503, f"no block has come for partition {index} yet")
    if (age := time.time() - partition.chain.head.timestamp) > FRESH_S:
        raise HttpError(503, f"the head of partition {index} is {age:.0f} s old")
