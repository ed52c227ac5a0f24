"""The tick of a price: the inverse of TickMath.getSqrtRatioAtTick."""

import math

from protocols.ticks import MAX_TICK, MIN_TICK, InvariantViolation, sqrt_ratio_at_tick

MIN_SQRT_RATIO = sqrt_ratio_at_tick(MIN_TICK)
MAX_SQRT_RATIO = sqrt_ratio_at_tick(MAX_TICK)
_LOG_OF_Q96 = 96 * math.log(2)
_LOG_OF_TICK = math.log(1.0001) / 2


def tick_at_sqrt_ratio(sqrt_price_x96: int) -> int:
    """The greatest tick whose price is not above this one, as TickMath.getTickAtSqrtRatio has it.

    The logarithm is off by less than a tick, and exact ratios correct it. Raises InvariantViolation out of range.
    """
    if not MIN_SQRT_RATIO <= sqrt_price_x96 < MAX_SQRT_RATIO:
        raise InvariantViolation(f"price {sqrt_price_x96} is out of range")
    estimate = int((math.log(sqrt_price_x96) - _LOG_OF_Q96) // _LOG_OF_TICK)
    tick = max(MIN_TICK, min(MAX_TICK - 1, estimate))
    if sqrt_ratio_at_tick(tick) > sqrt_price_x96:
        return tick - 1
    return tick + 1 if sqrt_ratio_at_tick(tick + 1) <= sqrt_price_x96 else tick
