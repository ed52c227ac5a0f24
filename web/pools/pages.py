"""Pages of all pools, merged from every worker's."""

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from aiohttp import web

from protocols.types import PoolId
from tables.partition import Partition
from tables.views.envelope import Envelope, ServedChain, envelope
from tables.views.pool import PoolView, pool_view
from web.answers import answer_from_thread, encode, joined
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.parameters import matches, number

PAGE = 500
LARGEST_PAGE = 5000
POOLS_PER_TURN = 250
"""Of the event loop."""


class Page(msgspec.Struct, frozen=True):
    """Each pool has an envelope of its own: partitions may be at different blocks."""

    pools: list[msgspec.Raw]
    next: str | None


class PoolInPage(NamedTuple):
    envelope: Envelope
    pool: PoolView


class _Id(msgspec.Struct, frozen=True):
    id: str


class PageHandlers:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding, served: ServedChain) -> None:
        self._owned = owned
        self._forwarding = forwarding
        self._served = served

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/pools/", self._page)]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        limit = min(number(request, "limit") or PAGE, LARGEST_PAGE)
        own = await self._own_page(request, limit)
        others = await self._forwarding.to_others(request)
        return await answer_from_thread(lambda: _merged(own, others, limit))

    async def _own_page(self, request: web.Request, limit: int) -> list[PoolInPage]:
        """One more than the limit, so that the worker that merges pages knows whether there is a next one."""
        found = self._matching(request)
        page: list[PoolInPage] = []
        for start in range(0, min(len(found), limit + 1), POOLS_PER_TURN):
            page += self._views(found[start : min(start + POOLS_PER_TURN, limit + 1)])
            await asyncio.sleep(0)
        return page

    def _matching(self, request: web.Request) -> list[tuple[PoolId, Partition]]:
        after = request.query.get("cursor", "").lower()
        found = [
            (pool_id, partition)
            for index in self._owned.owned()
            for partition in [self._owned.require(index)]
            for pool_id, pool in partition.pools.items()
            if pool_id > after and matches(request, pool)
        ]
        return sorted(found, key=lambda each: each[0])

    def _views(self, found: Iterable[tuple[PoolId, Partition]]) -> Iterable[PoolInPage]:
        now_s = time.time()
        for pool_id, partition in found:
            if pool := partition.pools.get(pool_id):
                yield PoolInPage(envelope(self._served, partition.chain, None, now_s), pool_view(partition, pool))


def _merged(own: list[PoolInPage], others: Iterable[bytes], limit: int) -> bytes:
    pools = [(each.pool.id, msgspec.Raw(joined(*each))) for each in own]
    for body in others:
        pools += [(msgspec.json.decode(raw, type=_Id).id, raw) for raw in msgspec.json.decode(body, type=Page).pools]
    pools.sort(key=lambda each: each[0])
    return encode(Page([raw for _, raw in pools[:limit]], pools[limit - 1][0] if len(pools) > limit else None))
