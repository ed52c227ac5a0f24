"""Reads the depth of pools at one block: state, ticks of those with liquidity, and the balances behind them."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from protocols.concentrated import ConcentratedState
from protocols.registry import NAMES, dex_of, is_singleton
from protocols.types import PoolId, PoolMetadata, State
from streams.node.state.pinned_state import PinnedState
from streams.snapshots.contract_checks import NoState, ReadFailed
from streams.snapshots.pool_reader import Outcome, Phase, read_pools
from whitelist.pricing.balances import Holding, read_balances
from whitelist.pricing.depths import Depth, reserves_depth, ticks_depth

BATCH = 200


class PoolReadFailed(Exception):
    """The node gave no usable answer for a pool."""


async def read_depths(pinned: PinnedState, pools: Sequence[PoolMetadata]) -> Mapping[PoolId, Depth | NoState | None]:
    """None: no liquidity at its price. Raises PoolReadFailed, BalanceReadFailed, BlockGone, NodeUnavailable."""
    outcomes = await _read_all(pinned, pools, "filtering")
    with_liquidity = [pool for pool in pools if _needs_ticks(outcomes[pool.id])]
    outcomes |= await _read_all(pinned, with_liquidity, "full_ticks")
    depths = {pool.id: _depth(pool, outcomes[pool.id]) for pool in pools}
    return depths | await _capped(pinned, pools, depths)


def _needs_ticks(outcome: Outcome) -> bool:
    return isinstance(outcome, ConcentratedState) and bool(outcome.liquidity)


async def _read_all(pinned: PinnedState, pools: Sequence[PoolMetadata], phase: Phase) -> dict[PoolId, Outcome]:
    outcomes: dict[PoolId, Outcome] = {}
    for protocol in NAMES:
        of_protocol = [pool for pool in pools if pool.protocol == protocol]
        for at in range(0, len(of_protocol), BATCH):
            batch = of_protocol[at : at + BATCH]
            outcomes |= await read_pools(pinned, batch, {pool.id: pool.factory for pool in batch}, phase)
    for pool, outcome in outcomes.items():
        if isinstance(outcome, ReadFailed):
            raise PoolReadFailed(f"pool {pool} cannot be read: {outcome.reason}")
    return outcomes


def _depth(pool: PoolMetadata, outcome: Outcome) -> Depth | NoState | None:
    match outcome:
        case NoState():
            return outcome
        case ConcentratedState():
            return ticks_depth(outcome.sqrt_price_x96, outcome.tick, outcome.liquidity, outcome.ticks)
        case State() if reserves := dex_of(pool.protocol).reserves:
            return reserves_depth(*reserves(outcome))
    return None


async def _capped(
    pinned: PinnedState, pools: Sequence[PoolMetadata], depths: Mapping[PoolId, Depth | NoState | None]
) -> dict[PoolId, Depth]:
    """What a pool claims beyond its balance does not count.

    The pools of a singleton share its balance: where their claims exceed it, each counts with its share.
    """
    claims: dict[Holding, int] = {}
    found = [(pool, depth) for pool in pools if isinstance(depth := depths[pool.id], Depth)]
    for pool, depth in found:
        for side, holding in enumerate(_holdings(pool)):
            claims[holding] = claims.get(holding, 0) + max(depth.counted[side], depth.at_stake[side])
    balances = await read_balances(pinned, claims)
    return {
        pool.id: depth.scaled(*(_share(balances[holding], claims[holding]) for holding in _holdings(pool)))
        for pool, depth in found
    }


def _holdings(pool: PoolMetadata) -> tuple[Holding, Holding]:
    holder = str(pool.factory) if is_singleton(pool.protocol) else pool.id
    return Holding(holder, pool.token0.address), Holding(holder, pool.token1.address)


def _share(balance: int, claims: int) -> Fraction:
    """The part of the claims that the balance covers."""
    return Fraction(1) if claims <= balance else Fraction(balance, claims)
