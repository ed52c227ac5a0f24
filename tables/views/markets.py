"""Quotes of pools at blocks in memory: a pool's market there, and orders by token. Pure."""

from typing import NamedTuple

from protocols.dex import Fees, PoolState
from protocols.quotes.order import Market, Order, Quote, QuoteRefused, RefusalKind
from protocols.quotes.quoting import market
from protocols.types import PoolMetadata
from tables.fees import fees_at
from tables.pool import Pool, Reason
from tables.views.memory import At


class PoolMarket(NamedTuple):
    pool: PoolMetadata
    state: PoolState
    fees: Fees | None
    market: Market


class Swap(NamedTuple):
    """An order by token."""

    token_in: str
    """Lower-case address."""
    amount: int
    exact_out: bool
    price_limit: int | None = None


def market_at(pool: Pool, found: At | None, why: Reason | str | None) -> PoolMarket:
    """`found`: None while the pool waits, which is why. Raises QuoteRefused."""
    metadata = pool.listed.pool
    if found is None:
        raise QuoteRefused(RefusalKind.WAITING, f"the pool is waiting, and its state is not known: {why}")
    fees = fees_at(found.live.fees, found.block.number)
    return PoolMarket(metadata, found.state, fees, market(metadata, found.state, fees))


def quote(of: PoolMarket, swap: Swap) -> Quote:
    """Raises QuoteRefused."""
    return of.market.quote(_order(of.pool, swap))


def _order(pool: PoolMetadata, swap: Swap) -> Order:
    tokens = (pool.token0.address, pool.token1.address)
    if swap.token_in not in tokens:
        raise QuoteRefused(
            RefusalKind.TOKEN, f"{swap.token_in} is not a token of {pool.id}: those are {' and '.join(tokens)}"
        )
    return Order(swap.token_in == tokens[0], swap.amount, swap.exact_out, swap.price_limit)
