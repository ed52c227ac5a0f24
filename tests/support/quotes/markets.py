"""Pools for tests of quotes: any positions at any price, as hypothesis draws them."""

from collections.abc import Sequence

from hypothesis import strategies as st

from protocols.concentrated import Price
from protocols.dex import PoolState
from protocols.quotes.concentrated import V3_RULES, V4_RULES, ConcentratedMarket
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO, tick_at_sqrt_ratio
from protocols.ticks import MAX_TICK, LiquidityChange, Ticks, changed, net_up_to, sqrt_ratio_at_tick
from protocols.types import PoolId, PoolMetadata, Token

TOKEN0, TOKEN1 = Token("0x" + "01" * 20, 18), Token("0x" + "02" * 20, 6)
V3_POOL = PoolMetadata(PoolId("0x" + "33" * 20), "v3", TOKEN0, TOKEN1, 3000, 60)
Position = tuple[int, int, int]
"""Lower tick, upper tick, liquidity."""
SPACINGS = (1, 10, 50, 60, 200, 16_383)


def pool_state(spacing: int, positions: Sequence[Position], sqrt_price_x96: int, tick: int | None = None) -> PoolState:
    ticks = Ticks(spacing, {})
    for lower, upper, liquidity in positions:
        ticks = changed(ticks, LiquidityChange(lower, upper, liquidity))
    at = tick_at_sqrt_ratio(sqrt_price_x96) if tick is None else tick
    return PoolState(Price(sqrt_price_x96, at, net_up_to(ticks, at)), ticks)


@st.composite
def states(draw: st.DrawFn) -> PoolState:
    """Also extreme prices, one-tick ranges, gaps without liquidity, and boundaries that were crossed downwards."""
    spacing = draw(st.sampled_from(SPACINGS))
    most = MAX_TICK // spacing
    centre = draw(st.integers(-most, most - 1))
    near = st.integers(max(-most, centre - 300), min(most, centre + 300))
    ends = st.lists(st.one_of(near, st.integers(-most, most)), min_size=2, max_size=2, unique=True)
    amounts = st.integers(0, 100).map(lambda bits: (1 << bits) + bits)
    positions = [
        (min(pair) * spacing, max(pair) * spacing, amount)
        for pair, amount in draw(st.lists(st.tuples(ends, amounts), min_size=1, max_size=8))
    ]
    low = sqrt_ratio_at_tick(centre * spacing)
    high = sqrt_ratio_at_tick((centre + 1) * spacing)
    price = draw(st.one_of(st.just(low), st.integers(low, high - 1)))
    price = max(MIN_SQRT_RATIO, min(MAX_SQRT_RATIO - 1, price))
    tick = tick_at_sqrt_ratio(price)
    was_crossed_down = price == sqrt_ratio_at_tick(tick) and tick > -MAX_TICK and draw(st.booleans())
    return pool_state(spacing, positions, price, tick - 1 if was_crossed_down else tick)


@st.composite
def markets(draw: st.DrawFn) -> ConcentratedMarket:
    fees = st.sampled_from([0, 1, 100, 500, 3000, 10_000, 999_999])
    return ConcentratedMarket(draw(states()), (draw(fees), draw(fees)), draw(st.sampled_from([V3_RULES, V4_RULES])))


AMOUNTS = st.one_of(st.integers(1, 1000), st.integers(0, 126).flatmap(lambda bits: st.integers(1, 2 << bits)))
