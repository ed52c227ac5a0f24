"""How much a pool holds, in its tokens' smallest units and integers only. PURE.

`near` is what trades take out of the pool until its price has moved by 1 %: token0 upwards, token1 downwards. For V3
and V4 that assumes that the liquidity at the current price is there over the whole 1 %, as no ticks are read: a
position narrower than that makes a pool look deeper than it is.
"""

from math import isqrt

import msgspec

from protocols.states import State, V2State

_ONE = 10**24
_UP = isqrt(_ONE * _ONE * 101 // 100)
_DOWN = isqrt(_ONE * _ONE * 99 // 100)


class Depth(msgspec.Struct, frozen=True):
    whole: tuple[int, int]
    """What the thresholds are about: both reserves of a V2 pool; `near` for the others."""
    near: tuple[int, int]
    price: tuple[int, int]
    """Numerator and denominator of token1 per token0, in smallest units; neither is 0."""


def depth(state: State) -> Depth | None:
    """None for a pool that has no price, or nothing at it."""
    if isinstance(state, V2State):
        return _of_reserves(state.reserve0, state.reserve1)
    return _of_price(state.sqrt_price_x96, state.liquidity)


def _of_reserves(reserve0: int, reserve1: int) -> Depth | None:
    if not reserve0 or not reserve1:
        return None
    near = (reserve0 * (_UP - _ONE) // _UP, reserve1 * (_ONE - _DOWN) // _ONE)
    return Depth((reserve0, reserve1), near, (reserve1, reserve0))


def _of_price(sqrt_price_x96: int, liquidity: int) -> Depth | None:
    if not sqrt_price_x96 or not liquidity:
        return None
    squared = sqrt_price_x96 * sqrt_price_x96
    up, down = isqrt(squared * 101 // 100), isqrt(squared * 99 // 100)
    near0 = (liquidity << 96) * (up - sqrt_price_x96) // (up * sqrt_price_x96)
    near1 = liquidity * (sqrt_price_x96 - down) >> 96
    return Depth((near0, near1), (near0, near1), (squared, 1 << 192))
