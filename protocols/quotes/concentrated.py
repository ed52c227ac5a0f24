"""Swaps of pools with ticks, step by step as UniswapV3Pool.swap and V4's Pool.swap make them."""

from collections.abc import Sequence

import msgspec

from protocols.concentrated import Price
from protocols.dex import PoolState
from protocols.quotes.depth import DepthWalk, price_limits
from protocols.quotes.order import (
    MOST_AMOUNT,
    PIPS,
    LiquidityEnds,
    Order,
    Quote,
    QuoteRefused,
    RefusalKind,
    check_amount,
)
from protocols.quotes.swap_maths import (
    Step,
    exact_in_down,
    exact_in_down_v3,
    exact_in_up,
    exact_in_up_v3,
    exact_out_down,
    exact_out_up,
)
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO, tick_at_sqrt_ratio
from protocols.quotes.tick_search import TickSearch
from protocols.ticks import sqrt_ratio_at_tick


class SwapRules(msgspec.Struct, frozen=True):
    """In what the contracts of V3 and V4 differ."""

    exact_in_down: Step
    exact_in_up: Step
    largest_amount: int
    """Of either token; what the swap's return type holds."""


V3_RULES = SwapRules(exact_in_down_v3, exact_in_up_v3, MOST_AMOUNT)
V4_RULES = SwapRules(exact_in_down, exact_in_up, 2**127 - 1)


class ConcentratedMarket:
    """Implements protocols.quotes.order.Market."""

    def __init__(self, state: PoolState, fees: tuple[int, int], rules: SwapRules) -> None:
        """`fees`: of swaps of token0 for token1 and of token1 for token0, in pips. Raises QuoteRefused."""
        assert isinstance(state.price, Price)
        if not state.price.sqrt_price_x96:
            raise QuoteRefused(RefusalKind.UNINITIALIZED, "the pool is not initialised: it has no price yet")
        self._price = state.price
        self._search = TickSearch(state.ticks)
        self._fees = fees
        self._rules = rules

    def quote(self, order: Order) -> Quote:
        """Raises QuoteRefused."""
        check_amount(order)
        limit = self._limit(order)
        if order.exact_out and self._fee(order.zero_for_one) >= PIPS:
            raise QuoteRefused(RefusalKind.AMOUNT, "at a fee of 100 % nothing comes out: no exact output can be had")
        quote, remaining = self._swap(order, limit)
        if remaining and order.sqrt_price_limit_x96 is None:
            raise LiquidityEnds(quote.amount_in, quote.amount_out)
        if max(quote.amount_in, quote.amount_out) > self._rules.largest_amount:
            raise QuoteRefused(RefusalKind.OVERFLOW, f"an amount is beyond {self._rules.largest_amount}")
        return quote

    def depth(self, *, zero_for_one: bool, points: int) -> Sequence[Quote]:
        limits = price_limits(self._price, self._search, zero_for_one=zero_for_one, points=points)
        step, fee = self._step(Order(zero_for_one, MOST_AMOUNT)), self._fee(zero_for_one)
        found = DepthWalk(self._price, self._search, step, fee, zero_for_one=zero_for_one).quotes(limits)
        return [quote for quote in found if max(quote.amount_in, quote.amount_out) <= self._rules.largest_amount]

    def _fee(self, zero_for_one: bool) -> int:
        return self._fees[0] if zero_for_one else self._fees[1]

    def _step(self, order: Order) -> Step:
        if order.exact_out:
            return exact_out_down if order.zero_for_one else exact_out_up
        return self._rules.exact_in_down if order.zero_for_one else self._rules.exact_in_up

    def _limit(self, order: Order) -> int:
        limit, price = order.sqrt_price_limit_x96, self._price.sqrt_price_x96
        if limit is None:
            limit = MIN_SQRT_RATIO + 1 if order.zero_for_one else MAX_SQRT_RATIO - 1
            if limit >= price if order.zero_for_one else limit <= price:
                raise LiquidityEnds(0, 0)
            return limit
        first, last = (MIN_SQRT_RATIO + 1, price - 1) if order.zero_for_one else (price + 1, MAX_SQRT_RATIO - 1)
        if not first <= limit <= last:
            raise QuoteRefused(
                RefusalKind.PRICE_LIMIT,
                f"a price limit of {limit} is refused in this direction: "
                f"the price is {price}, and a limit is {first} to {last}",
            )
        return limit

    def _swap(self, order: Order, limit: int) -> tuple[Quote, int]:
        """Also what remains of the order's amount at the price limit."""
        zero_for_one, exact_out, remaining = order.zero_for_one, order.exact_out, order.amount
        step = self._step(order)
        next_tick = self._search.below if zero_for_one else self._search.above
        next_initialized = self._search.next_below if zero_for_one else self._search.next_above
        fee = self._fee(zero_for_one)
        price, tick, liquidity = self._price.sqrt_price_x96, self._price.tick, self._price.liquidity
        total_in = total_out = fees = crossed = 0
        while remaining and price != limit:
            before = price
            tick_next, net = next_tick(tick) if liquidity else next_initialized(tick)
            price_next = sqrt_ratio_at_tick(tick_next)
            is_beyond = price_next < limit if zero_for_one else price_next > limit
            target = limit if is_beyond else price_next
            price, amount_in, amount_out, fee_amount = step(price, target, liquidity, remaining, fee)
            total_in += amount_in + fee_amount
            total_out += amount_out
            fees += fee_amount
            remaining -= amount_out if exact_out else amount_in + fee_amount
            if price == price_next:
                tick = tick_next - 1 if zero_for_one else tick_next
                if net is not None:
                    crossed += 1
                    liquidity += -net if zero_for_one else net
            elif price != before:
                tick = self._tick_within(price, zero_for_one=zero_for_one, has_liquidity=liquidity > 0)
        after = Price(price, tick, liquidity)
        return Quote(zero_for_one, total_in, total_out, fees, self._price, after, crossed), remaining

    def _tick_within(self, price: int, *, zero_for_one: bool, has_liquidity: bool) -> int:
        """Between two steps; without liquidity several steps are made as one, and one may have ended at this price."""
        tick = tick_at_sqrt_ratio(price)
        ends_a_step = not has_liquidity and zero_for_one and self._search.is_first_of_word(tick)
        return tick - 1 if ends_a_step and sqrt_ratio_at_tick(tick) == price else tick
