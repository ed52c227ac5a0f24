"""Random orders: from one unit to more than the pool holds, in both directions and kinds, with and without a limit."""

import random

from lab.quotes.model import PoolModel
from protocols.concentrated import Price
from protocols.quotes.order import MOST_AMOUNT, LiquidityEnds, Order, Quote, QuoteRefused
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO
from protocols.ticks import MAX_TICK, sqrt_ratio_at_tick
from protocols.v2 import V2State

MOST_PAID = 2**127 - 1
"""No order asks for more: V4's amounts are int128, and the trader's tokens end too."""


def random_order(chosen: random.Random, model: PoolModel) -> Order:
    zero_for_one, exact_out = chosen.random() < 0.5, chosen.random() < 0.4
    most = max(1, min(MOST_PAID, capacity(model, zero_for_one=zero_for_one)[exact_out]))
    amount = {
        "units": chosen.randint(1, 20),
        "any size": int(2 ** chosen.uniform(0, most.bit_length())),
        "a part": max(1, int(most * chosen.random() ** 3)),
        "all": most,
        "one more than all": most + 1,
        "far more": most * chosen.randint(2, 1000),
    }[chosen.choices(("units", "any size", "a part", "all", "one more than all", "far more"), (8, 35, 45, 4, 4, 4))[0]]
    limit = _limit(chosen, model, zero_for_one=zero_for_one) if chosen.random() < 0.3 else None
    return Order(zero_for_one, min(amount, MOST_PAID), exact_out, limit)


def capacity(model: PoolModel, *, zero_for_one: bool) -> tuple[int, int]:
    """About the most that goes in and comes out."""
    price = model.state.price
    if isinstance(price, Price):
        most = swap_to_the_end(model, Order(zero_for_one, MOST_AMOUNT))
        return (most.amount_in, most.amount_out) if isinstance(most, Quote) else (MOST_PAID, MOST_PAID)
    assert isinstance(price, V2State)
    reserves = (price.reserve0, price.reserve1)
    into, out_of = reserves if zero_for_one else reserves[::-1]
    return into * 1000, out_of - 1


def swap_to_the_end(model: PoolModel, order: Order) -> Quote | QuoteRefused:
    """As routers send an order without a limit of its own: to the last price; the pool fills what it can."""
    limit = order.sqrt_price_limit_x96
    if limit is None and isinstance(model.state.price, Price):
        limit = MIN_SQRT_RATIO + 1 if order.zero_for_one else MAX_SQRT_RATIO - 1
    try:
        return model.market.quote(Order(order.zero_for_one, order.amount, order.exact_out, limit))
    except QuoteRefused as refused:
        return refused


def is_consistent(model: PoolModel, order: Order, filled: Quote | QuoteRefused) -> bool:
    """Whether the quote without a limit is the same, or refused with just the amounts that were filled."""
    try:
        return model.market.quote(order) == filled
    except LiquidityEnds as refused:
        if isinstance(filled, QuoteRefused):
            return True
        return (refused.most_amount_in, refused.most_amount_out) == (filled.amount_in, filled.amount_out)
    except QuoteRefused as refused:
        return isinstance(filled, QuoteRefused) and filled.kind is refused.kind


def _limit(chosen: random.Random, model: PoolModel, *, zero_for_one: bool) -> int | None:
    """Often exactly at a tick, now and then on the wrong side."""
    price = model.state.price
    if not isinstance(price, Price):
        return None
    spacing = model.pool.tick_spacing
    steps = chosen.randint(0, chosen.choice((2, 30, 300, 5_000))) * (-1 if zero_for_one else 1)
    tick = (price.tick // spacing + steps) * spacing + chosen.choice((0, 0, chosen.randrange(spacing)))
    tick = max(-MAX_TICK + 1, min(MAX_TICK - 1, tick))
    return sqrt_ratio_at_tick(tick) + chosen.choice((0, 0, 1, chosen.randrange(2**16)))
