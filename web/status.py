"""GET /status/: every partition's head, lag and number of pools, from all workers."""

import time
from collections import Counter

import msgspec
from aiohttp import web

from tables.processing import metrics
from tables.views.memory import reason
from web.answers import Json, json_answer
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions, Owners


class StatusHandler:
    def __init__(self, owned: OwnedPartitions, owners: Owners, forwarding: Forwarding, chain: str) -> None:
        self._owned = owned
        self._owners = owners
        self._forwarding = forwarding
        self._chain = chain

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/status/", self._status)]

    async def _status(self, request: web.Request) -> web.StreamResponse:
        rows = [self._row(index) for index in self._owned.owned()]
        for body in await self._forwarding.to_others(request):
            rows += msgspec.json.decode(body)["partitions"]
        rows.sort(key=lambda row: int(row["partition"]))
        newest = max((row["head"]["number"] for row in rows if row["head"]), default=None)
        for row in rows:
            row["lag_blocks"] = newest - row["head"]["number"] if newest is not None and row["head"] else None
        pools = {name: sum(row["pools"][name] for row in rows) for name in ("live", "waiting")}
        reasons: Counter[str] = sum((Counter(row["reasons"]) for row in rows), Counter())
        return json_answer(
            {"chain": self._chain, "head": newest, "pools": pools, "reasons": dict(reasons), "partitions": rows}
        )

    def _row(self, index: int) -> Json:
        partition = self._owned.get(index)
        head = partition.chain.head if partition else None
        status = Counter(metrics.status(pool) for pool in partition.pools.values()) if partition else Counter[str]()
        waiting = (reason(partition, pool) for pool in partition.pools.values()) if partition else iter(())
        return {
            "partition": index,
            "worker": self._owners.own_url(),
            "ready": partition is not None,
            "head": {"number": head.number, "hash": head.hash} if head else None,
            "head_timestamp": head.timestamp if head else None,
            "lag_blocks": None,
            "lag_seconds": max(0.0, round(time.time() - head.timestamp, 3)) if head else None,
            "pools": {"live": status["live"], "waiting": status["waiting"]},
            "reasons": dict(Counter(str(why.kind) for why in waiting if why)),
        }
