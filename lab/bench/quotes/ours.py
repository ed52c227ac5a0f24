"""Our own quotes, timed one by one: of the task's orders, of single steps, of ten ticks, and of a pool with 20,000."""

import time
from collections.abc import Callable

from lab.bench.quotes.task import Case, Reading
from protocols.concentrated import Price
from protocols.dex import PoolState
from protocols.quotes.order import Order, Quote
from protocols.quotes.quoting import quote
from protocols.ticks import Tick, Ticks, from_ticks
from protocols.types import PoolId, PoolMetadata, Token

POOL = PoolMetadata(PoolId("0x" + "33" * 20), "v3", Token("0x" + "01" * 20), Token("0x" + "02" * 20), 500, 10)
LIQUIDITY = 10**18
REPEATS = 2_000


def reading(cases: list[Case]) -> Reading:
    """Each from the state alone, as for a block that has just come: nothing is prepared before."""
    amounts: list[str | None] = []
    microseconds: list[float] = []
    for case in cases:
        model = case.model
        state = PoolState(model.state.price, Ticks(model.state.ticks.spacing, model.state.ticks.parts))
        began = time.perf_counter()
        found = quote(model.metadata, state, case.order, model.fees)
        microseconds.append((time.perf_counter() - began) * 1e6)
        amounts.append(str(found.amount_out))
    return Reading(amounts, microseconds)


def single_step_rate() -> float:
    """Quotes per second that stay within one range."""
    state = _pool(1)
    return _rate(lambda number: quote(POOL, state, Order(True, 10**10 + number)), crossed=0)


def ten_tick_rate() -> float:
    """Quotes per second that cross ten initialised ticks."""
    state = _pool(10_000)
    return _rate(lambda number: quote(POOL, state, Order(True, 53 * 10**18 + number)), crossed=10)


def first_quote_of_many_ticks_us() -> float:
    """One quote of a pool with 20,000 ticks that nothing has been looked up in before, in microseconds."""
    state = _pool(10_000)
    began = time.perf_counter()
    quote(POOL, state, Order(True, 10**10))
    return (time.perf_counter() - began) * 1e6


def _rate(one: Callable[[int], Quote], crossed: int) -> float:
    if one(0).ticks_crossed != crossed:
        raise ValueError(f"the quote crosses {one(0).ticks_crossed} ticks, and it should cross {crossed}")
    began = time.perf_counter()
    for number in range(REPEATS):
        one(number)
    return REPEATS / (time.perf_counter() - began)


def _pool(positions: int) -> PoolState:
    """So many positions around price 1, each a tick spacing wider than the one before on either side."""
    spacing = POOL.tick_spacing or 1
    lower = [Tick(-spacing * number, LIQUIDITY, LIQUIDITY) for number in range(positions, 0, -1)]
    upper = [Tick(spacing * number, LIQUIDITY, -LIQUIDITY) for number in range(1, positions + 1)]
    return PoolState(Price(1 << 96, 0, positions * LIQUIDITY), from_ticks(spacing, [*lower, *upper]))
