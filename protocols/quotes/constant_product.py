"""Swaps of V2 pairs: reserves whose product may not fall, after the fee on what goes in."""

from collections.abc import Callable, Sequence
from math import isqrt

from protocols.quotes.order import PIPS, LiquidityEnds, Order, Quote, QuoteRefused, RefusalKind, check_amount
from protocols.types import PriceState

LARGEST_RESERVE = 2**112 - 1
DEPTH_REACH = 2
"""A depth chart ends where the price has changed by this factor."""


class ConstantProductMarket:
    """Implements protocols.quotes.order.Market, as UniswapV2Library computes amounts and the pair accepts them."""

    def __init__(
        self, state: PriceState, reserves: tuple[int, int], fee: int, with_reserves: Callable[[int, int], PriceState]
    ) -> None:
        """`fee`: in pips; `with_reserves` makes the state of other reserves."""
        self._state = state
        self._reserves = reserves
        self._fee = fee
        self._with_reserves = with_reserves

    def quote(self, order: Order) -> Quote:
        """Raises QuoteRefused."""
        check_amount(order)
        if order.sqrt_price_limit_x96 is not None:
            raise QuoteRefused(RefusalKind.PRICE_LIMIT, "a V2 pair has no price limit")
        reserve_in, reserve_out = self._reserves if order.zero_for_one else self._reserves[::-1]
        if not reserve_in or not reserve_out:
            raise LiquidityEnds(0, 0)
        if order.exact_out:
            amount_in, amount_out = self._input_for(order.amount, reserve_in, reserve_out), order.amount
        else:
            amount_in, amount_out = order.amount, self._output_of(order.amount, reserve_in, reserve_out)
        return self._quote(order.zero_for_one, amount_in, amount_out)

    def depth(self, *, zero_for_one: bool, points: int) -> Sequence[Quote]:
        reserve_in, _ = self._reserves if zero_for_one else self._reserves[::-1]
        found: list[Quote] = []
        for point in range(1, points + 1):
            added = isqrt(reserve_in**2 * (points + point * (DEPTH_REACH - 1)) // points) - reserve_in
            amount = added * PIPS // (PIPS - self._fee)
            if amount > (found[-1].amount_in if found else 0) and self._fills(zero_for_one, amount):
                found.append(self.quote(Order(zero_for_one, amount)))
        return found

    def _output_of(self, amount_in: int, reserve_in: int, reserve_out: int) -> int:
        """getAmountOut: the most that the pair lets out. Raises QuoteRefused."""
        with_fee = amount_in * (PIPS - self._fee)
        amount_out = with_fee * reserve_out // (reserve_in * PIPS + with_fee)
        if not amount_out:
            raise QuoteRefused(RefusalKind.AMOUNT, f"for {amount_in} nothing comes out, and the pair refuses that")
        return amount_out

    def _input_for(self, amount_out: int, reserve_in: int, reserve_out: int) -> int:
        """getAmountIn, which is one more than needed where the division leaves nothing. Raises LiquidityEnds."""
        if amount_out >= reserve_out:
            raise LiquidityEnds(max(0, LARGEST_RESERVE - reserve_in), reserve_out - 1)
        return reserve_in * amount_out * PIPS // ((reserve_out - amount_out) * (PIPS - self._fee)) + 1

    def _fills(self, zero_for_one: bool, amount_in: int) -> bool:
        reserve_in, reserve_out = self._reserves if zero_for_one else self._reserves[::-1]
        with_fee = amount_in * (PIPS - self._fee)
        return reserve_in + amount_in <= LARGEST_RESERVE and with_fee * reserve_out >= reserve_in * PIPS + with_fee

    def _quote(self, zero_for_one: bool, amount_in: int, amount_out: int) -> Quote:
        change = (amount_in, -amount_out) if zero_for_one else (-amount_out, amount_in)
        reserve0, reserve1 = (reserve + by for reserve, by in zip(self._reserves, change, strict=True))
        if max(reserve0, reserve1) > LARGEST_RESERVE:
            raise QuoteRefused(RefusalKind.OVERFLOW, f"a reserve would be beyond {LARGEST_RESERVE}")
        fee_amount = -(-amount_in * self._fee // PIPS)
        after = self._with_reserves(reserve0, reserve1)
        return Quote(zero_for_one, amount_in, amount_out, fee_amount, self._state, after, 0)
