"""The depth of a pool, in its tokens' smallest units, in integers only. Pure.

A depth is what trades take out of the pool until its price has moved by a factor: token0 upwards, token1 downwards. In
V3 and V4 pools that is the liquidity between the initialised ticks, not the active liquidity carried on: a position of
a single tick holds what is in that tick and no more.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import msgspec

from protocols.ticks import Tick, sqrt_ratio_at_tick

ONE = 10**18
PERCENT = (101 * ONE // 100, 99 * ONE // 100)
"""Factors of the price, times ONE: up and down by 1 %, the range that thresholds count."""
DOUBLE = (2 * ONE, ONE // 2)
"""Up and down by a factor of 2, the range whose money vouches for a price."""

Factors = tuple[int, int]
Amounts = tuple[int, int]
"""Of token0 and token1."""


class Depth(msgspec.Struct, frozen=True):
    counted: Amounts
    """What the thresholds count: both reserves of a V2 pool; within 1 % of the price for the others."""
    at_stake: Amounts
    """What trades take out until the price has doubled (token0) or halved (token1)."""
    price: tuple[int, int]
    """Numerator and denominator of token1 per token0, in smallest units; neither is 0."""

    def scaled(self, share0: Fraction, share1: Fraction) -> "Depth":
        """With these shares of its token0 and token1."""
        shares = (share0, share1)
        return Depth(_scaled(self.counted, shares), _scaled(self.at_stake, shares), self.price)


def reserves_depth(reserve0: int, reserve1: int) -> Depth | None:
    """Of a V2 pool; None where it is empty."""
    if not reserve0 or not reserve1:
        return None
    root_up, root_down = isqrt(DOUBLE[0] * ONE), isqrt(DOUBLE[1] * ONE)
    at_stake = (reserve0 * (root_up - ONE) // root_up, reserve1 * (ONE - root_down) // ONE)
    return Depth((reserve0, reserve1), at_stake, (reserve1, reserve0))


def ticks_depth(sqrt_price_x96: int, tick: int, liquidity: int, ticks: Sequence[Tick]) -> Depth | None:
    """Of a V3 or V4 pool; None where it has no price, or no liquidity at it.

    `ticks`: all initialised ones, ascending.
    """
    if not sqrt_price_x96 or not liquidity:
        return None
    position = (sqrt_price_x96, tick, liquidity)
    counted = _between(*position, ticks, PERCENT)
    return Depth(counted, _between(*position, ticks, DOUBLE), (sqrt_price_x96 * sqrt_price_x96, 1 << 192))


def _between(sqrt_price_x96: int, tick: int, liquidity: int, ticks: Sequence[Tick], factors: Factors) -> Amounts:
    up, down = (isqrt(sqrt_price_x96 * sqrt_price_x96 * factor // ONE) for factor in factors)
    above = [each for each in ticks if each.tick > tick]
    below = [each for each in reversed(ticks) if each.tick <= tick]
    return _upwards(sqrt_price_x96, up, liquidity, above), _downwards(sqrt_price_x96, down, liquidity, below)


def _upwards(start: int, end: int, liquidity: int, ticks: Sequence[Tick]) -> int:
    """Of token0: L * (1 / sqrt(low) - 1 / sqrt(high)) for each interval between ticks."""
    amount = 0
    for each in ticks:
        boundary = sqrt_ratio_at_tick(each.tick)
        if boundary >= end:
            break
        amount += _token0(start, boundary, liquidity)
        start, liquidity = max(start, boundary), liquidity + each.liquidity_net
    return amount + _token0(start, end, liquidity)


def _downwards(start: int, end: int, liquidity: int, ticks: Sequence[Tick]) -> int:
    """Of token1: L * (sqrt(high) - sqrt(low)) for each interval between ticks."""
    amount = 0
    for each in ticks:
        boundary = sqrt_ratio_at_tick(each.tick)
        if boundary <= end:
            break
        amount += _token1(start, boundary, liquidity)
        start, liquidity = min(start, boundary), liquidity - each.liquidity_net
    return amount + _token1(start, end, liquidity)


def _token0(low: int, high: int, liquidity: int) -> int:
    return (max(0, liquidity) << 96) * (high - low) // (low * high) if high > low else 0


def _token1(high: int, low: int, liquidity: int) -> int:
    return max(0, liquidity) * (high - low) >> 96 if high > low else 0


def _scaled(amounts: Amounts, shares: tuple[Fraction, Fraction]) -> Amounts:
    return int(amounts[0] * shares[0]), int(amounts[1] * shares[1])
