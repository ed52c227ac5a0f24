"""Decides on every candidate pool at one block: exclusions, depths, prices, thresholds."""

from collections.abc import Mapping, Sequence

import msgspec

from protocols.registry import dex_of
from protocols.types import NATIVE, PoolId, PoolMetadata, Token
from streams.node.state.pinned_state import PinnedState
from streams.snapshots.contract_checks import NoState
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.selection import Listed, Rejected, SelectionRules
from whitelist.pricing.depth_reader import read_depths
from whitelist.pricing.depths import Depth
from whitelist.pricing.prices import Market, Prices
from whitelist.pricing.token_prices import token_prices
from whitelist.tokens.chosen import ListedToken

MAX_PRICING_FEE = 50_000
"""Hundredths of a basis point: 5 %."""
DYNAMIC_FEE_FLAG = 0x800000


class Decisions(msgspec.Struct, frozen=True):
    listed: Sequence[Listed]
    """By falling liquidity."""
    rejected: Sequence[Rejected]


async def decide_pools(
    pinned: PinnedState,
    rules: SelectionRules,
    candidates: Sequence[DiscoveredPool],
    tokens: Mapping[str, ListedToken],
) -> Decisions:
    """`candidates`: pools whose tokens are all in `tokens`. Raises what reading depths raises."""
    excluded = {pool.id: reason for pool in candidates if (reason := rules.exclusion(pool)) is not None}
    allowed = [pool for pool in candidates if pool.id not in excluded]
    depths = await read_depths(pinned, [pool_metadata(pool, tokens) for pool in allowed])
    prices = token_prices(rules.configuration, _markets(allowed, depths), tokens)
    rejected = [Rejected(pool, excluded[pool.id]) for pool in candidates if pool.id in excluded]
    decisions = [_decide(rules, pool, depths[pool.id], prices) for pool in allowed]
    listed = [decision for decision in decisions if isinstance(decision, Listed)]
    listed.sort(key=lambda decision: (-decision.liquidity_micro_usd, decision.pool.id))
    return Decisions(listed, [*rejected, *(each for each in decisions if isinstance(each, Rejected))])


def _decide(
    rules: SelectionRules, pool: DiscoveredPool, depth: Depth | NoState | None, prices: Prices
) -> Listed | Rejected:
    if isinstance(depth, NoState):
        return Rejected(pool, depth.reason)
    return rules.decide(pool, depth, prices)


def _markets(pools: Sequence[DiscoveredPool], depths: Mapping[PoolId, Depth | NoState | None]) -> list[Market]:
    """The pools that may set prices, because trades would correct a wrong one."""
    return [
        Market(pool.id, (pool.token0, pool.token1), depth)
        for pool in pools
        if _is_open_to_trades(pool) and isinstance(depth := depths[pool.id], Depth)
    ]


def _is_open_to_trades(pool: DiscoveredPool) -> bool:
    """Hooks can make any price, and a high fee keeps trades from a wrong one. A dynamic fee needs hooks."""
    fee = pool.fee or 0
    return pool.hooks == NATIVE and (fee <= MAX_PRICING_FEE or bool(fee & DYNAMIC_FEE_FLAG))


def pool_metadata(pool: DiscoveredPool, tokens: Mapping[str, ListedToken]) -> PoolMetadata:
    token0, token1 = (
        Token(token.address, token.decimals, token.symbol) for token in (tokens[pool.token0], tokens[pool.token1])
    )
    hooks = None if dex_of(pool.protocol).creation.hooks is None else pool.hooks
    return PoolMetadata(pool.id, pool.protocol, token0, token1, pool.fee, pool.tick_spacing, pool.factory, hooks)
