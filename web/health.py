"""What operators' machines ask: is the worker alive, is it ready, and its metrics."""

import time
from collections import Counter
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

FRESH_S = 60.0
"""A head whose timestamp is older is not fresh."""


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True):
    status: Literal["ready"]
    partitions: list[int]
    """Of this worker."""


class HealthHandlers:
    def __init__(self, owned: OwnedPartitions, owners: Owners) -> None:
        self._owned = owned
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
        """Every whitelisted pool that it owns is live, and every head that it owns is fresh."""
        owned = self._owned.owned()
        if not owned:
            raise HttpError(503, "this worker owns no partition yet")
        for index in owned:
            _check_ready(index, self._owned.require(index))
        return json_answer(Readiness("ready", owned))

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        loaded = self._owned.loaded()
        ready = [partition for index in loaded if (partition := self._owned.get(index))]
        status = Counter(metrics.status(pool) for partition in ready for pool in partition.pools.values())
        for name in ("live", "waiting"):
            metrics.POOLS.labels(name).set(status[name])
        for index, partition in loaded.items():
            if head := partition.chain.head:
                metrics.HEAD.labels(index).set(head.number)
                metrics.LAG.labels(index).set(time.time() - head.timestamp)
        return web.Response(
            body=prometheus_client.generate_latest(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )


def _check_ready(index: int, partition: Partition) -> None:
    waiting = [pool.listed.pool.id for pool in partition.pools.values() if not isinstance(pool.life, Live)]
    if waiting:
        sentence = f"{len(waiting)} pools of partition {index} are waiting"
        raise HttpError(503, sentence, ErrorAnswer(sentence, waiting=list(waiting[:20])))
    if partition.chain.head is None:
        raise HttpError(503, f"no block has come for partition {index} yet")
    if (age := time.time() - partition.chain.head.timestamp) > FRESH_S:
        raise HttpError(503, f"the head of partition {index} is {age:.0f} s old")
