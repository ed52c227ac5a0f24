"""Quotes and depth as they are answered over HTTP, without the envelope. Pure."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from protocols import folding
from protocols.concentrated import Price
from protocols.dex import Fees, PoolState
from protocols.quotes.order import Market, Quote
from protocols.registry import dex_of
from protocols.types import PoolMetadata, PriceState
from tables.views.pool import DecimalString
from tables.views.prices import decimal_ratio, spot_price

AmountString = Annotated[str, msgspec.Meta(pattern="^[0-9]+$")]
"""In the token's smallest unit."""
Ratio = tuple[int, int]
"""What comes out per what goes in, in smallest units: numerator and denominator."""


class QuoteView(msgspec.Struct, frozen=True):
    pool: str
    token_in: str
    token_out: str
    amount_in: AmountString
    """With the fee."""
    amount_out: AmountString
    fee_amount: AmountString
    """Of `token_in`; contained in `amount_in`."""
    price_before: DecimalString | None
    """`token_out` per `token_in`, with decimals applied; None where the decimals are not known."""
    price_after: DecimalString | None
    sqrt_price_x96_after: AmountString | None
    """None for V2."""
    tick_after: int | None
    """None for V2."""
    ticks_crossed: int
    """Initialised ticks."""
    price_impact: DecimalString
    """1 - (amount_out / amount_in) / price before, with the fee in it: 0.01 is one percent."""
    fees_block: int | None
    """V4: where the fees were read; a dynamic fee may have changed since, without a log. None for other pools."""


class PathQuoteView(msgspec.Struct, frozen=True):
    """Through several pools, one after the other."""

    path: list[str]
    token_in: str
    token_out: str
    amount_in: AmountString
    amount_out: AmountString
    price_impact: DecimalString
    """Of the whole path."""
    hops: list[QuoteView]


class AmountsView(msgspec.Struct, frozen=True):
    token0: AmountString
    token1: AmountString


class TvlView(msgspec.Struct, frozen=True):
    tvl: AmountsView | None
    """What is locked in the pool: a V2 pair's reserves; of other pools what positions hold, without fees that are not
    collected yet. None while the pool waits."""


class DepthPoint(msgspec.Struct, frozen=True):
    """A trade, and where it moves the price to."""

    amount_in: AmountString
    amount_out: AmountString
    price_after: DecimalString | None
    """Token1 per token0, with decimals applied; None where the decimals are not known."""
    sqrt_price_x96_after: AmountString | None
    tick_after: int | None


class DepthView(msgspec.Struct, frozen=True):
    id: str
    price: DecimalString | None
    """Token1 per token0 now."""
    token0_in: list[DepthPoint]
    """Trades of growing size that sell token0; the price falls."""
    token1_in: list[DepthPoint]
    """Trades of growing size that sell token1; the price rises."""
    fees_block: int | None


def quote_view(pool: PoolMetadata, quote: Quote, fees: Fees | None) -> QuoteView:
    token_in, token_out = pool.token0.address, pool.token1.address
    if not quote.zero_for_one:
        token_in, token_out = token_out, token_in
    after = quote.after if isinstance(quote.after, Price) else None
    return QuoteView(
        pool=pool.id,
        token_in=token_in,
        token_out=token_out,
        amount_in=str(quote.amount_in),
        amount_out=str(quote.amount_out),
        fee_amount=str(quote.fee_amount),
        price_before=_price(pool, quote.before, zero_for_one=quote.zero_for_one),
        price_after=_price(pool, quote.after, zero_for_one=quote.zero_for_one),
        sqrt_price_x96_after=str(after.sqrt_price_x96) if after else None,
        tick_after=after.tick if after else None,
        ticks_crossed=quote.ticks_crossed,
        price_impact=_impact(quote.amount_in, quote.amount_out, mid_price(pool, quote)),
        fees_block=fees.block if fees else None,
    )


def tvl_view(state: PoolState | None) -> TvlView:
    """Takes milliseconds for thousands of ticks. `state`: None while the pool waits."""
    locked = folding.locked(state) if state else None
    return TvlView(AmountsView(*map(str, locked)) if locked else None)


def mid_price(pool: PoolMetadata, quote: Quote) -> Ratio:
    """Before the swap."""
    of_price = dex_of(pool.protocol).model.spot_price
    amount1, amount0 = of_price(quote.before) if of_price else (0, 1)
    return (amount1, amount0) if quote.zero_for_one else (amount0, amount1)


def path_view(hops: Sequence[QuoteView], mids: Iterable[Ratio]) -> PathQuoteView:
    """`mids`: the mid prices before the hops, in their order."""
    out, into = 1, 1
    for mid in mids:
        out, into = out * mid[0], into * mid[1]
    first, last = hops[0], hops[-1]
    return PathQuoteView(
        path=[hop.pool for hop in hops],
        token_in=first.token_in,
        token_out=last.token_out,
        amount_in=first.amount_in,
        amount_out=last.amount_out,
        price_impact=_impact(int(first.amount_in), int(last.amount_out), (out, into)),
        hops=list(hops),
    )


def depth_view(pool: PoolMetadata, price: PriceState, market: Market, fees: Fees | None, points: int) -> DepthView:
    """At most so many points on each side. Takes tens of milliseconds for thousands of them."""
    return DepthView(
        id=pool.id,
        price=_price(pool, price, zero_for_one=True),
        token0_in=list(_points(pool, market.depth(zero_for_one=True, points=points))),
        token1_in=list(_points(pool, market.depth(zero_for_one=False, points=points))),
        fees_block=fees.block if fees else None,
    )


def _points(pool: PoolMetadata, quotes: Iterable[Quote]) -> Iterable[DepthPoint]:
    for quote in quotes:
        after = quote.after if isinstance(quote.after, Price) else None
        yield DepthPoint(
            str(quote.amount_in),
            str(quote.amount_out),
            _price(pool, quote.after, zero_for_one=True),
            str(after.sqrt_price_x96) if after else None,
            after.tick if after else None,
        )


def _price(pool: PoolMetadata, state: PriceState, *, zero_for_one: bool) -> str | None:
    """What comes out per what goes in."""
    price = spot_price(pool, state)
    if price is None:
        return None
    return price.token1_per_token0 if zero_for_one else price.token0_per_token1


def _impact(amount_in: int, amount_out: int, mid: Ratio) -> str:
    fair = amount_in * mid[0]
    return decimal_ratio(max(0, fair - amount_out * mid[1]), fair) if fair else "0"
