"""Pool lists as Uniswap's smart-order-router reads them from one URL: all live pools, in the subgraph's words."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

from protocols.concentrated import Price
from protocols.registry import DEXES, dex_of
from protocols.types import NATIVE, PoolId, Token
from tables.partition import Partition
from tables.views.memory import at
from tables.views.state import Integer
from web.answers import answer_from_thread, encode
from web.errors import Handler
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.pools.pages import POOLS_PER_TURN, Identified
from web.route_table import Route

UNKNOWN = 0.0
"""Value locked is not known here; the router orders pools by it, so it has to be a number."""


class SubgraphToken(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    decimals: str | None = None
    symbol: str | None = None


class SubgraphPool(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    id: str
    fee_tier: Integer
    """Hundredths of a basis point."""
    liquidity: Integer
    token0: SubgraphToken
    token1: SubgraphToken
    tvl_eth: float = msgspec.field(name="tvlETH", default=UNKNOWN)
    tvl_usd: float = msgspec.field(name="tvlUSD", default=UNKNOWN)


class SubgraphSingletonPool(SubgraphPool, frozen=True, rename="camel", kw_only=True):
    """Of a DEX whose pools are in one contract."""

    tick_spacing: Integer
    hooks: str


class SubgraphHandlers:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding) -> None:
        self._owned = owned
        self._forwarding = forwarding

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                f"/subgraph/{dex.name}.json",
                self._handler(dex.name),
                f"All live {dex.name.upper()} pools as Uniswap's smart-order-router reads them",
                [SubgraphSingletonPool if dex.is_singleton else SubgraphPool],
                is_list=True,
                errors=[503],
            )
            for dex in DEXES
            if dex.model.price is Price
        ]

    def _handler(self, protocol: str) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            own = await self._own_pools(protocol)
            others = await self._forwarding.to_others(request)
            return await answer_from_thread(lambda: _merged(own, others))

        return answer

    async def _own_pools(self, protocol: str) -> list[SubgraphPool]:
        found = [
            (pool_id, partition)
            for index in self._owned.owned()
            for partition in [self._owned.require(index)]
            for pool_id, pool in partition.pools.items()
            if pool.listed.pool.protocol == protocol
        ]
        pools: list[SubgraphPool] = []
        for start in range(0, len(found), POOLS_PER_TURN):
            turn = found[start : start + POOLS_PER_TURN]
            pools += [pool for pool_id, partition in turn if (pool := _pool(partition, pool_id))]
            await asyncio.sleep(0)
        return pools


def _pool(partition: Partition, pool_id: PoolId) -> SubgraphPool | None:
    """None where the pool waits, or is of a kind that the router cannot read."""
    pool = partition.pools.get(pool_id)
    found = at(partition, pool, None) if pool else None
    if pool is None or found is None or not isinstance(found.state.price, Price):
        return None
    metadata, liquidity = pool.listed.pool, str(found.state.price.liquidity)
    tokens = _token(metadata.token0), _token(metadata.token1)
    fee = str(metadata.fee or 0)
    if not dex_of(metadata.protocol).is_singleton:
        return SubgraphPool(id=pool_id, fee_tier=fee, liquidity=liquidity, token0=tokens[0], token1=tokens[1])
    return SubgraphSingletonPool(
        id=pool_id,
        fee_tier=fee,
        liquidity=liquidity,
        token0=tokens[0],
        token1=tokens[1],
        tick_spacing=str(metadata.tick_spacing or 0),
        hooks=metadata.hooks or NATIVE,
    )


def _token(token: Token) -> SubgraphToken:
    return SubgraphToken(token.address, None if token.decimals is None else str(token.decimals), token.symbol)


def _merged(own: Sequence[SubgraphPool], others: Iterable[bytes]) -> bytes:
    pools = [(each.id, msgspec.Raw(encode(each))) for each in own]
    for body in others:
        raws = msgspec.json.decode(body, type=list[msgspec.Raw])
        pools += [(msgspec.json.decode(raw, type=Identified).id, raw) for raw in raws]
    return encode([raw for _, raw in sorted(pools, key=lambda each: each[0])])
