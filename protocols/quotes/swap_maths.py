"""One step of a swap within a range of constant liquidity: SwapMath and SqrtPriceMath of Uniswap V3 and V4.

Formulas and directions of rounding are those of v3-core 1.0.1 and v4-core 1.0.2, in integers of any size; where the
contracts go another way on an overflow of 256 bits, so does this. All prices are sqrt prices as Q64.96. A step down
takes token0 and lowers the price; a step up takes token1.
"""

from collections.abc import Callable

from protocols.quotes.order import PIPS

Q96 = 96
UINT256 = 1 << 256
StepResult = tuple[int, int, int, int]
"""Price after the step, amount in without the fee, amount out, fee."""
Step = Callable[[int, int, int, int, int], StepResult]
"""Of price, target, liquidity, amount that remains, and fee in pips."""


def amount0(low: int, high: int, liquidity: int) -> int:
    """Token0 between two prices, rounded down (getAmount0Delta)."""
    return (liquidity << Q96) * (high - low) // (high * low)


def amount0_up(low: int, high: int, liquidity: int) -> int:
    """The same, rounded up."""
    return -((liquidity << Q96) * (low - high) // (high * low))


def amount1(low: int, high: int, liquidity: int) -> int:
    """Token1 between two prices, rounded down (getAmount1Delta)."""
    return liquidity * (high - low) >> Q96


def amount1_up(low: int, high: int, liquidity: int) -> int:
    """The same, rounded up."""
    return -(liquidity * (low - high) >> Q96)


def price_after_token0_in(price: int, liquidity: int, amount: int) -> int:
    """Rounded up (getNextSqrtPriceFromAmount0RoundingUp)."""
    if not amount:
        return price
    virtual = liquidity << Q96
    product = amount * price
    if product < UINT256 and virtual + product < UINT256:
        return -(-virtual * price // (virtual + product))
    return -(-virtual // (virtual // price + amount))


def price_after_token0_out(price: int, liquidity: int, amount: int) -> int:
    """Rounded up; of an amount that the liquidity has."""
    virtual = liquidity << Q96
    return -(-virtual * price // (virtual - amount * price))


def exact_in_down(price: int, target: int, liquidity: int, remaining: int, fee: int) -> StepResult:
    """V4's; the last step's fee is what it does not take."""
    without_fee = remaining * (PIPS - fee) // PIPS
    amount_in = amount0_up(target, price, liquidity)
    if without_fee >= amount_in:
        return target, amount_in, amount1(target, price, liquidity), _fee_on(amount_in, fee)
    after = price_after_token0_in(price, liquidity, without_fee)
    return after, without_fee, amount1(after, price, liquidity), remaining - without_fee


def exact_in_up(price: int, target: int, liquidity: int, remaining: int, fee: int) -> StepResult:
    """V4's."""
    without_fee = remaining * (PIPS - fee) // PIPS
    amount_in = amount1_up(price, target, liquidity)
    if without_fee >= amount_in:
        return target, amount_in, amount0(price, target, liquidity), _fee_on(amount_in, fee)
    after = price + (without_fee << Q96) // liquidity
    return after, without_fee, amount0(price, after, liquidity), remaining - without_fee


def exact_in_down_v3(price: int, target: int, liquidity: int, remaining: int, fee: int) -> StepResult:
    """As V4's, but all that did not move the price counts as fee."""
    after, taken, amount_out, fee_amount = exact_in_down(price, target, liquidity, remaining, fee)
    if after == target:
        return after, taken, amount_out, fee_amount
    taken = amount0_up(after, price, liquidity)
    return after, taken, amount_out, remaining - taken


def exact_in_up_v3(price: int, target: int, liquidity: int, remaining: int, fee: int) -> StepResult:
    """As V4's, but all that did not move the price counts as fee."""
    after, taken, amount_out, fee_amount = exact_in_up(price, target, liquidity, remaining, fee)
    if after == target:
        return after, taken, amount_out, fee_amount
    taken = amount1_up(price, after, liquidity)
    return after, taken, amount_out, remaining - taken


def exact_out_down(price: int, target: int, liquidity: int, remaining: int, fee: int) -> StepResult:
    """V3's and V4's; the fee is below 100 %."""
    after, amount_out = target, amount1(target, price, liquidity)
    if remaining < amount_out:
        after, amount_out = price + (-remaining << Q96) // liquidity, remaining
    amount_in = amount0_up(after, price, liquidity)
    return after, amount_in, amount_out, _fee_on(amount_in, fee)


def exact_out_up(price: int, target: int, liquidity: int, remaining: int, fee: int) -> StepResult:
    """V3's and V4's; the fee is below 100 %."""
    after, amount_out = target, amount0(price, target, liquidity)
    if remaining < amount_out:
        after, amount_out = price_after_token0_out(price, liquidity, remaining), remaining
    amount_in = amount1_up(price, after, liquidity)
    return after, amount_in, amount_out, _fee_on(amount_in, fee)


def _fee_on(amount_in: int, fee: int) -> int:
    """Rounded up. At 100 % a step is whole only where nothing goes in."""
    return amount_in if fee == PIPS else -(-amount_in * fee // (PIPS - fee))
