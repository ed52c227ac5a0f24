"""A pool's spot price in both directions as decimal strings, with the tokens' decimals applied. Pure."""

from decimal import Context, Decimal
from typing import NamedTuple

from protocols.registry import dex_of
from protocols.types import PoolMetadata, PriceState

DIGITS = 36
"""Significant digits of a price, rounded half to even."""
_EXACT = Context(prec=DIGITS)


class SpotPrice(NamedTuple):
    """Decimal strings without an exponent."""

    token1_per_token0: str
    token0_per_token1: str


def spot_price(pool: PoolMetadata, price: PriceState) -> SpotPrice | None:
    """None where the pool has no price, or the decimals of a token are not known."""
    of_price = dex_of(pool.protocol).model.spot_price
    decimals0, decimals1 = pool.token0.decimals, pool.token1.decimals
    if of_price is None or decimals0 is None or decimals1 is None:
        return None
    amount1, amount0 = of_price(price)
    if not amount0 or not amount1:
        return None
    shift = decimals0 - decimals1
    return SpotPrice(decimal_ratio(amount1, amount0, shift), decimal_ratio(amount0, amount1, -shift))


def decimal_ratio(numerator: int, denominator: int, shift: int = 0) -> str:
    """numerator / denominator * 10^shift."""
    ratio = _EXACT.divide(Decimal(numerator), Decimal(denominator)).scaleb(shift, _EXACT)
    return f"{ratio.normalize(_EXACT):f}"
