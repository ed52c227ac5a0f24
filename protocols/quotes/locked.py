"""What the positions of a pool with ticks hold of each token: total value locked, without fees."""

from protocols.quotes.swap_maths import Q96
from protocols.ticks import Ticks, sqrt_ratio_at_tick

EXTRA_BITS = 160
"""Of precision beyond a wei while inverse prices are summed up."""


def locked_amounts(sqrt_price_x96: int, current_tick: int, ticks: Ticks) -> tuple[int, int]:
    """Token0 above the price and token1 below it, each the exact sum over all ranges of ticks, rounded down.

    A range's liquidity is the sum of liquidity_net below it, so the amounts are sums over ticks: below the price
    net * (price - price of tick), above it net * (1 / price of tick - 1 / price), in sqrt prices.
    """
    inverse = 1 << 2 * Q96 + EXTRA_BITS
    scaled0 = sum1 = 0
    for part in ticks.parts.values():
        for tick, liquidity in part.items():
            at = sqrt_ratio_at_tick(tick)
            if tick <= current_tick:
                sum1 += liquidity.net * (sqrt_price_x96 - at)
            else:
                scaled0 += liquidity.net * (inverse // at - inverse // sqrt_price_x96)
    return max(0, scaled0) >> Q96 + EXTRA_BITS, sum1 >> Q96
