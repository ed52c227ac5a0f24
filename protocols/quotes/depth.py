"""Swaps of growing size in one direction, for depth charts: all in one walk away from the price."""

from collections.abc import Iterator, Sequence

from protocols.concentrated import Price
from protocols.quotes.order import MOST_AMOUNT, Quote
from protocols.quotes.swap_maths import Step
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO, tick_at_sqrt_ratio
from protocols.quotes.tick_search import TickSearch
from protocols.ticks import sqrt_ratio_at_tick

MOST_POINTS = 2_000
REACH = 6_932
"""Ticks on each side of the price, where the liquidity does not end before: the price doubles or halves."""


def price_limits(price: Price, search: TickSearch, *, zero_for_one: bool, points: int) -> Sequence[int]:
    """Sqrt prices at even distances in ticks, away from the price, up to where the liquidity or the reach ends."""
    outermost = search.outermost()
    if outermost is None or points <= 0:
        return ()
    lowest, highest = outermost
    reach = min(REACH, price.tick + 1 - lowest if zero_for_one else highest - price.tick)
    if reach <= 0:
        return ()
    step = -(-reach // points)
    offsets = [*range(step, reach, step), reach]
    ticks = (price.tick + (1 - offset if zero_for_one else offset) for offset in offsets)
    found = (max(MIN_SQRT_RATIO + 1, min(MAX_SQRT_RATIO - 1, sqrt_ratio_at_tick(tick))) for tick in ticks)
    current = price.sqrt_price_x96
    return [limit for limit in found if (limit < current if zero_for_one else limit > current)]


class DepthWalk:
    """From the price in one direction, from step to step of the swap that would take everything."""

    def __init__(self, start: Price, search: TickSearch, step: Step, fee: int, *, zero_for_one: bool) -> None:
        self._start = self._at = start
        self._search = search
        self._step = step
        self._fee = fee
        self._zero_for_one = zero_for_one
        self._total = Quote(zero_for_one, 0, 0, 0, start, start, 0)

    def quotes(self, limits: Sequence[int]) -> Iterator[Quote]:
        """For each price limit, the nearest first, the swap that ends there."""
        for limit in limits:
            while True:
                tick, net = self._next()
                target = sqrt_ratio_at_tick(tick)
                if target < limit if self._zero_for_one else target > limit:
                    yield self._until(Price(limit, tick_at_sqrt_ratio(limit), self._at.liquidity), 0)
                    break
                crossed = 0 if net is None else -net if self._zero_for_one else net
                after = Price(target, tick - 1 if self._zero_for_one else tick, self._at.liquidity + crossed)
                self._total, self._at = self._until(after, int(net is not None)), after
                if target == limit:
                    yield self._total
                    break

    def _next(self) -> tuple[int, int | None]:
        return self._search.below(self._at.tick) if self._zero_for_one else self._search.above(self._at.tick)

    def _until(self, after: Price, crossed: int) -> Quote:
        at, total = self._at, self._total
        _, amount_in, amount_out, fee = self._step(
            at.sqrt_price_x96, after.sqrt_price_x96, at.liquidity, MOST_AMOUNT, self._fee
        )
        return Quote(
            self._zero_for_one,
            total.amount_in + amount_in + fee,
            total.amount_out + amount_out,
            total.fee_amount + fee,
            self._start,
            after,
            total.ticks_crossed + crossed,
        )
