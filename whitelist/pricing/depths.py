"""The depth of a pool, in its tokens' smallest units, in integers only. PURE.

`near` is what trades take out of the pool until its price has moved by 1 %: token0 upwards, token1 downwards. For V3
and V4 it assumes that the active liquidity spans the whole 1 %, because no ticks are read: a narrower position makes a
pool look deeper than it is.
"""

from math import isqrt

import msgspec

from protocols.concentrated import ConcentratedState
from protocols.registry import State
from protocols.v2 import V2State

_ONE = 10**24
_UP = isqrt(_ONE * _ONE * 101 // 100)
_DOWN = isqrt(_ONE * _ONE * 99 // 100)


class Depth(msgspec.Struct, frozen=True):
    whole: tuple[int, int]
    """What the thresholds count: both reserves of a V2 pool; `near` of the others."""
    near: tuple[int, int]
    price: tuple[int, int]
    """Numerator and denominator of token1 per token0, in smallest units; neither is 0."""


def depth(state: State) -> Depth | None:
    """None for a pool without a price, or without liquidity at it."""
    match state:
        case V2State():
            return _reserves_depth(state.reserve0, state.reserve1)
        case ConcentratedState():
            return _active_depth(state.sqrt_price_x96, state.liquidity)
    return None


def _reserves_depth(reserve0: int, reserve1: int) -> Depth | None:
    if not reserve0 or not reserve1:
        return None
    near = (reserve0 * (_UP - _ONE) // _UP, reserve1 * (_ONE - _DOWN) // _ONE)
    return Depth((reserve0, reserve1), near, (reserve1, reserve0))


def _active_depth(sqrt_price_x96: int, liquidity: int) -> Depth | None:
    if not sqrt_price_x96 or not liquidity:
        return None
    squared = sqrt_price_x96 * sqrt_price_x96
    up, down = isqrt(squared * 101 // 100), isqrt(squared * 99 // 100)
    near0 = (liquidity << 96) * (up - sqrt_price_x96) // (up * sqrt_price_x96)
    near1 = liquidity * (sqrt_price_x96 - down) >> 96
    return Depth((near0, near1), (near0, near1), (squared, 1 << 192))
