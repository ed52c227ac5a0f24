"""POST /pools/query: many pools as of one block."""

from typing import Annotated

import msgspec
from aiohttp import web

from tables.views.memory import BlockRef
from tables.views.pool import PoolView, PoolWithTicks
from web.answers import answer_from_thread, encode, joined
from web.freshness import check_age
from web.owners.forwarding import FORWARDED
from web.parameters import BLOCK, MAX_AGE_S, POOL_ID, decoded_body, parse_block, parse_pool
from web.pools.one_block import OneBlock
from web.route_table import Route, any_of

MOST_POOLS = 1000


class PoolQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ids: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=POOL_ID)]], msgspec.Meta(min_length=1, max_length=MOST_POOLS)
    ]
    """Each is answered once, where it is named first."""
    at: Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=BLOCK)] | None = None
    """As of the end of this block in memory; None: of the newest that every partition concerned has."""
    ticks: bool = False
    """Whether each pool has its ticks too."""


class PoolsAtOneBlock(msgspec.Struct, frozen=True):
    pools: list[Annotated[msgspec.Raw, any_of(PoolView, PoolWithTicks)]]
    """In the order of the ids. A pool that has no state as of the block waits, and says why."""
    unknown: list[str]
    """Ids that are not on the whitelist."""


class QueryHandlers:
    def __init__(self, one_block: OneBlock) -> None:
        self._one_block = one_block

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/pools/query",
                self._query,
                "Up to 1,000 pools, all as of the end of one block",
                [PoolsAtOneBlock],
                parameters=[MAX_AGE_S],
                body=PoolQuery,
                has_envelope=True,
                parts=[PoolView, PoolWithTicks],
                errors=[400, 404, 503],
            )
        ]

    async def _query(self, request: web.Request) -> web.StreamResponse:
        query = await decoded_body(request, PoolQuery)
        ids = list(dict.fromkeys(parse_pool("ids", each) for each in query.ids))
        part = await self._one_block.read(request, ids, _block(query), query.ticks)
        if FORWARDED in request.headers:
            return await answer_from_thread(lambda: encode(part))
        check_age(request, part.envelope)
        unknown = [each for each in ids if each not in part.pools]
        answer = PoolsAtOneBlock(list(part.pools.values()), list(unknown))
        return await answer_from_thread(lambda: joined(part.envelope, answer))


def _block(query: PoolQuery) -> BlockRef | None:
    return query.at if query.at is None or isinstance(query.at, int) else parse_block("at", query.at)
