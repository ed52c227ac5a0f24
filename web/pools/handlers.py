"""Answers about pools: one, its ticks, where its state comes from, and pages of all."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from streams.kafka.topics import partition_of
from tables.partition import Partition
from tables.pool import Pool
from tables.views import pool as views
from tables.views.state import Json
from web.answers import json_answer, json_answer_from_thread
from web.errors import Handler, HttpError
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.parameters import matches, number, requested_pool

PAGE = 500
LARGEST_PAGE = 5000
POOLS_PER_TURN = 250
"""Of the event loop."""

View = Callable[[Partition, Pool, int | None], Json | Callable[[], Json]]
"""An answer, or what makes a large one in a thread."""


class PoolHandlers:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding, chain: str, partitions: int) -> None:
        self._owned = owned
        self._forwarding = forwarding
        self._chain = chain
        self._partitions = partitions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/pools/", self._list),
            web.get("/pools/{id}/", self._one(views.pool_view)),
            web.get("/pools/{id}/ticks/", self._one(views.ticks_answer)),
            web.get("/pools/{id}/explain/", self._one(lambda partition, pool, _: views.explain_view(partition, pool))),
        ]

    def _one(self, view: View) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            pool = requested_pool(request)
            block = number(request, "at")
            index = partition_of(pool.encode(), self._partitions)
            if index not in self._owned.owned():
                return await self._forwarding.to_owner(request, index)
            partition = self._owned.require(index)
            found = partition.pools.get(pool)
            if found is None:
                raise HttpError(404, f"{pool} is not on the whitelist of {self._chain}")
            try:
                made = view(partition, found, block)
            except views.NotInMemory as unknown:
                raise HttpError(404, str(unknown), first=unknown.first, last=unknown.last) from unknown
            return await json_answer_from_thread(made) if callable(made) else json_answer(made)

        return answer

    async def _list(self, request: web.Request) -> web.StreamResponse:
        limit = min(number(request, "limit") or PAGE, LARGEST_PAGE)
        pages = [await self._own_page(request, limit)]
        pages += [page["pools"] for page in await self._forwarding.to_others(request)]
        page = sorted((pool for each in pages for pool in each), key=lambda pool: str(pool["id"]))
        more = len(page) > limit
        return json_answer({"pools": page[:limit], "next": page[limit - 1]["id"] if more else None})

    async def _own_page(self, request: web.Request, limit: int) -> list[Json]:
        """One more than the limit, so that the worker that merges pages knows whether there is a next one."""
        after = request.query.get("cursor", "").lower()
        found = [
            (pool_id, partition)
            for index in self._owned.owned()
            for partition in [self._owned.require(index)]
            for pool_id, pool in partition.pools.items()
            if pool_id > after and matches(request, pool)
        ]
        found.sort(key=lambda each: each[0])
        page: list[Json] = []
        for start in range(0, min(len(found), limit + 1), POOLS_PER_TURN):
            turn = found[start : min(start + POOLS_PER_TURN, limit + 1)]
            page += [views.pool_view(partition, pool) for id_, partition in turn if (pool := partition.pools.get(id_))]
            await asyncio.sleep(0)
        return page
