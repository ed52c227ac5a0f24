"""Pages of all pools, merged from every worker's."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec
from aiohttp import web

from protocols.types import PoolId
from tables.partition import Partition
from tables.pool import Pool
from tables.processing import metrics
from tables.views.envelope import Envelope, ServedChain, envelope
from tables.views.memory import BlockRef, NotInMemory, number_in_memory
from tables.views.pool import PoolView, view_as_of
from web.answers import answer_from_thread, encode, joined
from web.freshness import check_age
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.parameters import AT, CURSOR, LIMIT, MAX_AGE_S, PROTOCOL, STATUS, TOKEN
from web.pools.lookup import not_in_memory
from web.route_table import Route, all_of

PAGE = 500
LARGEST_PAGE = 5000
POOLS_PER_TURN = 250
"""Of the event loop."""


class Page(msgspec.Struct, frozen=True):
    pools: list[Annotated[msgspec.Raw, all_of(Envelope, PoolView)]]
    """Ascending by id. Each has an envelope of its own, because partitions may be at different blocks."""
    next: str | None
    """`?cursor=` of the next page; None for the last one."""


class PoolInPage(NamedTuple):
    envelope: Envelope
    pool: PoolView


class Filters(NamedTuple):
    protocol: str | None
    status: str | None
    tokens: frozenset[str]
    """Any of these; all pools match where there are none."""
    after: str

    def match(self, pool_id: PoolId, pool: Pool) -> bool:
        metadata = pool.listed.pool
        return (
            pool_id > self.after
            and self.protocol in (None, metadata.protocol)
            and self.status in (None, metrics.status(pool))
            and (not self.tokens or not self.tokens.isdisjoint((metadata.token0.address, metadata.token1.address)))
        )


class Identified(msgspec.Struct, frozen=True):
    id: str


class PageHandlers:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding, served: ServedChain) -> None:
        self._owned = owned
        self._forwarding = forwarding
        self._served = served

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/pools/",
                self._page,
                "All pools, ascending by id, in pages",
                [Page],
                parameters=[PROTOCOL, STATUS, TOKEN, LIMIT, CURSOR, AT, MAX_AGE_S],
                errors=[400, 404, 503],
            )
        ]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        limit = min(LIMIT.read(request) or PAGE, LARGEST_PAGE)
        own = await self._own_page(request, limit)
        others = await self._forwarding.to_others(request)
        return await answer_from_thread(lambda: _merged(own, others, limit))

    async def _own_page(self, request: web.Request, limit: int) -> list[PoolInPage]:
        """One more than the limit, so that the worker that merges pages knows whether there is a next one."""
        found, block = self._matching(request), AT.read(request)
        page: list[PoolInPage] = []
        for start in range(0, min(len(found), limit + 1), POOLS_PER_TURN):
            turn = list(self._views(found[start : min(start + POOLS_PER_TURN, limit + 1)], block))
            for each in {one.envelope: None for one in turn}:
                check_age(request, each)
            page += turn
            await asyncio.sleep(0)
        return page

    def _matching(self, request: web.Request) -> list[tuple[PoolId, Partition]]:
        filters = Filters(
            PROTOCOL.read(request),
            STATUS.read(request),
            frozenset(TOKEN.read_all(request)),
            CURSOR.read(request) or "",
        )
        found = [
            (pool_id, partition)
            for index in self._owned.owned()
            for partition in [self._owned.require(index)]
            for pool_id, pool in partition.pools.items()
            if filters.match(pool_id, pool)
        ]
        return sorted(found, key=lambda each: each[0])

    def _views(self, found: Iterable[tuple[PoolId, Partition]], block: BlockRef | None) -> Iterator[PoolInPage]:
        """Of those that are listed still."""
        now_s = time.time()
        for pool_id, partition in found:
            if pool := partition.pools.get(pool_id):
                try:
                    number = number_in_memory(partition.chain, block)
                except NotInMemory as unknown:
                    raise not_in_memory(unknown) from unknown
                of_block = envelope(self._served, partition.chain, number, now_s)
                yield PoolInPage(of_block, view_as_of(partition, pool, number))


def _merged(own: list[PoolInPage], others: Iterable[bytes], limit: int) -> bytes:
    pools = [(each.pool.id, msgspec.Raw(joined(*each))) for each in own]
    for body in others:
        pools += [
            (msgspec.json.decode(raw, type=Identified).id, raw) for raw in msgspec.json.decode(body, type=Page).pools
        ]
    pools.sort(key=lambda each: each[0])
    return encode(Page([raw for _, raw in pools[:limit]], pools[limit - 1][0] if len(pools) > limit else None))
