"""Quotes of any DEX: `quote(pool, state, order)`, or `market` for many quotes of one state."""

from protocols.dex import Fees, PoolState
from protocols.quotes.order import Market, Order, Quote, QuoteRefused, RefusalKind
from protocols.registry import dex_of
from protocols.types import PoolMetadata


def quote(pool: PoolMetadata, state: PoolState, order: Order, fees: Fees | None = None) -> Quote:
    """What a swap would settle on this state. `fees`: of a V4 pool. Raises QuoteRefused."""
    return market(pool, state, fees).quote(order)


def market(pool: PoolMetadata, state: PoolState, fees: Fees | None = None) -> Market:
    """Raises QuoteRefused where no swap of the pool can be known from its state."""
    if taxed := [token.address for token in (pool.token0, pool.token1) if token.fee_on_transfer]:
        raise QuoteRefused(
            RefusalKind.FEE_ON_TRANSFER,
            f"{' and '.join(taxed)} takes a fee on transfers, and what arrives is not known from the pool's state",
        )
    of_dex = dex_of(pool.protocol).market
    if of_dex is None:
        raise QuoteRefused(RefusalKind.NO_MODEL, f"swaps of {pool.protocol} pools are not modelled")
    return of_dex(pool, state, fees)
