"""HTTP: every worker answers for every pool; it asks the worker that owns the partition."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import aiohttp
import prometheus_client
from aiohttp import web

from protocols.types import PoolId, pool_id
from streams.kafka.topics import partition_of
from tables import metrics
from tables.live import Live
from tables.partition import Partition
from tables.pool import Pool
from tables.processor import PartitionProcessor
from tables.state_view import Json
from web import views

FORWARDED = "X-Arena-Forwarded"
"""Set on a request from one worker to another, which answers for itself or not at all."""
PAGE = 500
LARGEST_PAGE = 5000
FRESH_S = 60.0
"""A head whose timestamp is older is not fresh."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Owners(Protocol):
    """Who has what; the worker's Faust app knows."""

    def urls(self) -> Mapping[int, str]:
        """Partition to the base URL of the worker that owns it."""

    def own_url(self) -> str: ...

    def ready(self, partition: int) -> bool:
        """Ours, and its table is recovered."""

    def owned(self) -> set[int]: ...

    def stalled(self) -> str | None:
        """Why the worker makes no progress though it should; None while all is well."""


class Refusal(Exception):
    def __init__(self, status: int, sentence: str, **facts: Any) -> None:
        super().__init__(sentence)
        self.status = status
        self.body = {"error": sentence, **facts}
        self.headers = {"Retry-After": "1"} if status == 503 else {}


class Web:
    def __init__(self, pools: PartitionProcessor, owners: Owners, chain: str, partitions: int) -> None:
        self._pools = pools
        self._owners = owners
        self._chain = chain
        self._partitions = partitions
        self._session: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/pools/", self._list),
            web.get("/pools/{id}/", self._one(views.pool_view)),
            web.get("/pools/{id}/ticks/", self._one(views.ticks_view)),
            web.get("/pools/{id}/explain/", self._one(lambda partition, pool, _: views.explain_view(partition, pool))),
            web.get("/status/", self._status),
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
        ]

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    def _one(self, view: Callable[[Partition, Pool, int | None], Json]) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            pool = _pool_id(request)
            number = _number(request, "at")
            index = partition_of(pool.encode(), self._partitions)
            if index not in self._owners.owned():
                return await self._forward(request, index)
            partition = self._partition(index)
            found = partition.pools.get(pool)
            if found is None:
                raise Refusal(404, f"{pool} is not on the whitelist of {self._chain}")
            try:
                return web.json_response(view(partition, found, number))
            except views.NotInMemory as unknown:
                raise Refusal(404, str(unknown), first=unknown.first, last=unknown.last) from unknown

        return answer

    async def _list(self, request: web.Request) -> web.StreamResponse:
        limit = min(_number(request, "limit") or PAGE, LARGEST_PAGE)
        own = self._own_page(request, limit)
        pages = [own] + [page["pools"] for page in await self._others(request)]
        page = sorted((pool for each in pages for pool in each), key=lambda pool: str(pool["id"]))
        more = len(page) > limit
        return web.json_response({"pools": page[:limit], "next": page[limit - 1]["id"] if more else None})

    def _own_page(self, request: web.Request, limit: int) -> list[Json]:
        """One more than the limit, so that who merges pages knows that there is a next one."""
        after = request.query.get("cursor", "").lower()
        found = [
            (pool, partition)
            for index in self._owners.owned()
            for partition in [self._partition(index)]
            for pool in partition.pools.values()
            if pool.listed.pool.id > after and _matches(request, partition, pool)
        ]
        found.sort(key=lambda each: each[0].listed.pool.id)
        return [views.pool_view(partition, pool) for pool, partition in found[: limit + 1]]

    async def _status(self, request: web.Request) -> web.StreamResponse:
        rows = [self._status_row(index) for index in sorted(self._owners.owned())]
        rows += [row for status in await self._others(request) for row in status["partitions"]]
        rows.sort(key=lambda row: int(row["partition"]))
        newest = max((row["head"]["number"] for row in rows if row["head"]), default=None)
        for row in rows:
            row["lag_blocks"] = newest - row["head"]["number"] if newest is not None and row["head"] else None
        pools = {name: sum(row["pools"][name] for row in rows) for name in ("live", "waiting")}
        reasons: Counter[str] = sum((Counter(row["reasons"]) for row in rows), Counter())
        return web.json_response(
            {"chain": self._chain, "head": newest, "pools": pools, "reasons": dict(reasons), "partitions": rows}
        )

    def _status_row(self, index: int) -> Json:
        partition = self._pools.partitions.get(index) if self._owners.ready(index) else None
        head = partition.chain.head if partition else None
        status = Counter(metrics.status(pool) for pool in partition.pools.values()) if partition else Counter[str]()
        waiting = (views.reason(partition, pool) for pool in partition.pools.values()) if partition else iter(())
        return {
            "partition": index,
            "worker": self._owners.own_url(),
            "ready": partition is not None,
            "head": views.block_view(head),
            "head_timestamp": head.timestamp if head else None,
            "lag_blocks": None,
            "lag_seconds": max(0.0, round(time.time() - head.timestamp, 3)) if head else None,
            "pools": {"live": status["live"], "waiting": status["waiting"]},
            "reasons": dict(Counter(str(reason.kind) for reason in waiting if reason)),
        }

    async def _others(self, request: web.Request) -> list[Json]:
        """The same question to every other worker; none where another worker is the one that asks."""
        if FORWARDED in request.headers:
            return []
        owners = self._owners.urls()
        if missing := sorted(set(range(self._partitions)) - owners.keys() - self._owners.owned()):
            raise Refusal(503, f"partitions {missing} have no owner at the moment")
        urls = sorted(set(owners.values()) - {self._owners.own_url()})
        answers = await asyncio.gather(*(self._ask(url + request.path_qs) for url in urls))
        for status, body in answers:
            if status != 200:
                raise Refusal(status, str(body.get("error")))
        return [body for _, body in answers]

    async def _forward(self, request: web.Request, index: int) -> web.StreamResponse:
        url = self._owners.urls().get(index)
        if url is None or url == self._owners.own_url() or FORWARDED in request.headers:
            raise Refusal(503, f"partition {index} is between two workers; ask again")
        status, body = await self._ask(url + request.path_qs)
        return web.json_response(body, status=status, headers={"Retry-After": "1"} if status == 503 else {})

    async def _ask(self, url: str) -> tuple[int, Json]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        if self._session.closed:
            raise Refusal(503, "this worker is stopping; ask another one")
        try:
            async with self._session.get(url, headers={FORWARDED: self._owners.own_url()}) as response:
                body: Json = await response.json()
                return response.status, body
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Refusal(503, f"the worker at {url} does not answer: {error or type(error).__name__}") from error

    def _partition(self, index: int) -> Partition:
        partition = self._pools.partitions.get(index)
        if partition is None or not self._owners.ready(index):
            raise Refusal(503, f"partition {index} is being recovered")
        return partition

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        owned = [partition for index, partition in self._pools.partitions.items() if self._owners.ready(index)]
        status = Counter(metrics.status(pool) for partition in owned for pool in partition.pools.values())
        for name in ("live", "waiting"):
            metrics.POOLS.labels(name).set(status[name])
        for index, partition in self._pools.partitions.items():
            if head := partition.chain.head:
                metrics.HEAD.labels(index).set(head.number)
                metrics.LAG.labels(index).set(time.time() - head.timestamp)
        return web.Response(
            body=prometheus_client.generate_latest(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )

    async def _healthz(self, _: web.Request) -> web.StreamResponse:
        if stalled := self._owners.stalled():
            raise Refusal(503, stalled)
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.StreamResponse:
        """Every whitelisted pool that it owns is live, and every head that it owns is fresh."""
        owned = self._owners.owned()
        if not owned:
            raise Refusal(503, "this worker owns no partition yet")
        for index in sorted(owned):
            partition = self._partition(index)
            waiting = [pool.listed.pool.id for pool in partition.pools.values() if not isinstance(pool.life, Live)]
            if waiting:
                raise Refusal(503, f"{len(waiting)} pools of partition {index} are waiting", waiting=waiting[:20])
            if partition.chain.head is None:
                raise Refusal(503, f"partition {index} has heard of no block yet")
            if (age := time.time() - partition.chain.head.timestamp) > FRESH_S:
                raise Refusal(503, f"the head of partition {index} is {age:.0f} s old")
        return web.json_response({"status": "ready", "partitions": sorted(owned)})


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        sentence = f"{request.method} {request.path}: {error.reason}"
        return web.json_response({"error": sentence}, status=error.status)


def _pool_id(request: web.Request) -> PoolId:
    text = request.match_info["id"]
    if pool := pool_id(text):
        return pool
    raise Refusal(404, f"{text!r} is not a pool's id: 0x and 40 hex digits for V2 and V3, 64 for V4")


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise Refusal(400, f"{name}={text!r} is not a number")


def _matches(request: web.Request, partition: Partition, pool: Pool) -> bool:
    metadata, query = pool.listed.pool, request.query
    tokens = {metadata.token0.address, metadata.token1.address}
    return (
        query.get("protocol", metadata.protocol).lower() == metadata.protocol
        and query.get("token", metadata.token0.address).lower() in tokens
        and query.get("status", metrics.status(pool)).lower() == metrics.status(pool)
    )
