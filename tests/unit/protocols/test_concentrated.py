"""What swaps and liquidity changes do to a pool, against positions in a dict and against swaps of mainnet."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import Naive, metadata, something
from protocols.concentrated import Initialize, Price, ProtocolFeeUpdate, Swap, apply, check_whole, compact
from protocols.decoding import decode
from protocols.registry import Event
from protocols.ticks import (
    MAX_TICK,
    MIN_TICK,
    UINT128,
    InvariantViolation,
    LiquidityChange,
    Tick,
    Ticks,
    from_ticks,
    sqrt_ratio_at_tick,
)
from protocols.v2 import Sync
from tests.support.recorded_logs import logs

EMPTY = Ticks(60, {})
AT_0 = Price(1 << 96, 0, 0)
MINTED = [LiquidityChange(-60, 60, 100)]


def at(tick: int, liquidity: int) -> Price:
    return Price(sqrt_ratio_at_tick(tick), tick, liquidity)


def swap(tick: int, liquidity: int) -> Swap:
    return Swap(sqrt_ratio_at_tick(tick), liquidity, tick)


@pytest.mark.parametrize(
    ("tick", "active"), [(-61, 0), (-60, 5), (0, 5), (59, 5), (60, 0), (61, 0), (MIN_TICK, 0), (MAX_TICK, 0)]
)
def test_a_change_is_active_where_lower_is_at_or_below_the_tick_and_the_tick_below_upper(
    tick: int, active: int
) -> None:
    price, _ = apply(at(tick, 0), EMPTY, [LiquidityChange(-60, 60, 5)])

    assert price == at(tick, active)


def test_liquidity_counts_with_the_tick_at_that_point_of_the_block() -> None:
    events: list[Event] = [LiquidityChange(60, 120, 9), swap(60, 9), LiquidityChange(60, 120, -4), swap(0, 0)]

    price, ticks = apply(AT_0, EMPTY, events)

    assert price == AT_0
    assert tuple(ticks) == (Tick(60, 5, 5), Tick(120, 5, -5))


def test_a_boundary_crossed_downwards_exactly_leaves_the_tick_one_below_and_the_position_behind() -> None:
    down = Swap(sqrt_ratio_at_tick(-60), 0, -61)

    price, ticks = apply(AT_0, EMPTY, [*MINTED, down])
    back, _ = apply(price, ticks, [swap(-60, 100)])

    assert price == Price(sqrt_ratio_at_tick(-60), -61, 0)
    assert back == at(-60, 100)


def test_a_boundary_reached_upwards_exactly_is_crossed() -> None:
    price, _ = apply(AT_0, EMPTY, [*MINTED, swap(60, 0)])

    assert price == at(60, 0)


def test_the_first_price_and_positions_of_a_new_pool_may_come_in_one_block() -> None:
    price, ticks = apply(Price(0, 0, 0), EMPTY, [Initialize(1 << 96, 0), *MINTED, swap(59, 100)])

    assert price == at(59, 100)
    check_whole(price, ticks)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (swap(59, 101), "leaves liquidity 100, the log says 101"),
        (swap(60, 100), "leaves liquidity 0, the log says 100"),
        (Swap(sqrt_ratio_at_tick(3), 100, 1), "is not of tick"),
        (LiquidityChange(-60, 60, -101), "cannot go"),
        (LiquidityChange(-60, 60, UINT128), "cannot go"),
        (LiquidityChange(-60, 61, 1), "no range"),
        (LiquidityChange(-120, 120, UINT128 - 50), "active liquidity"),
        (Initialize(1 << 96, 0), "again"),
        (Sync(1, 1), "cannot have a Sync"),
    ],
)
def test_what_cannot_follow_is_refused(event: Event, sentence: str) -> None:
    price, ticks = apply(AT_0, EMPTY, MINTED)

    with pytest.raises(InvariantViolation, match=sentence):
        apply(price, ticks, [event])


def test_a_change_of_the_protocols_fee_leaves_price_and_ticks_and_is_kept() -> None:
    price, ticks = apply(AT_0, EMPTY, MINTED)
    changes = [ProtocolFeeUpdate(1), swap(1, 100), ProtocolFeeUpdate(2), ProtocolFeeUpdate(3)]

    assert apply(price, ticks, [ProtocolFeeUpdate(900)]) == (price, ticks)
    assert compact(changes) == (ProtocolFeeUpdate(1), swap(1, 100), ProtocolFeeUpdate(3))


@pytest.mark.parametrize("event", [swap(0, 0), LiquidityChange(-60, 60, 1), ProtocolFeeUpdate(1)])
def test_nothing_happens_to_a_pool_that_is_not_initialized(event: Event) -> None:
    with pytest.raises(InvariantViolation, match="uninitialised"):
        apply(Price(0, 0, 0), EMPTY, [event])


@pytest.mark.parametrize(
    ("price", "ticks", "sentence"),
    [
        (Price(0, 0, 0), [Tick(0, 1, 0)], "no ticks"),
        (Price(1 << 96, 1, 0), [], "is not of tick"),
        (AT_0, [Tick(-60, 5, 5)], "adds up to 5"),
        (AT_0, [Tick(-60, 5, 5), Tick(60, 5, -5)], "active liquidity is 0"),
        (at(0, 5), [Tick(-61, 5, 5), Tick(60, 5, -5)], "spacing"),
        (at(0, 5), [Tick(-887280, 5, 5), Tick(60, 5, -5)], "spacing"),
        (at(0, 5), [Tick(-60, 4, 5), Tick(60, 5, -5)], "beyond gross"),
        (AT_0, [Tick(-60, 0, 0)], "no gross"),
        (AT_0, [Tick(60, UINT128, 0)], "gross"),
    ],
)
def test_a_state_that_breaks_an_invariant_is_not_whole(price: Price, ticks: list[Tick], sentence: str) -> None:
    with pytest.raises(InvariantViolation, match=sentence):
        check_whole(price, from_ticks(60, ticks))


def happenings(seed: int, count: int) -> tuple[list[Event], list[Naive]]:
    random = Random(seed)
    naive = Naive(metadata(0, "v3", random.choice([1, 10, 60, 200])))
    events: list[Event] = []
    after = [naive]
    for _ in range(count):
        event, naive = something(random, naive)
        events.append(event)
        after.append(naive)
    return events, after


@given(st.integers(0, 2**64 - 1), st.integers(1, 40))
def test_any_positions_and_swaps_give_what_a_naive_recount_gives(seed: int, count: int) -> None:
    events, after = happenings(seed, count)

    price, ticks = Price(0, 0, 0), Ticks(after[0].pool.tick_spacing or 1, {})
    for event, naive in zip(events, after[1:], strict=True):
        price, ticks = apply(price, ticks, [event])

        assert (price, ticks) == (naive.whole.price, naive.whole.ticks)
        check_whole(price, ticks)


@given(st.integers(0, 2**64 - 1), st.integers(1, 40))
def test_compacted_events_lead_to_the_same_state(seed: int, count: int) -> None:
    events, after = happenings(seed, count)
    start = Price(0, 0, 0), Ticks(after[0].pool.tick_spacing or 1, {})

    kept = compact(events)

    assert apply(*start, kept) == apply(*start, events)
    assert len(kept) <= len(events)
    assert compact(kept) == kept


def test_pokes_and_overtaken_swaps_are_compacted_away() -> None:
    mint, poke = LiquidityChange(-60, 60, 1), LiquidityChange(-60, 60, 0)

    assert compact([swap(1, 0), swap(2, 0), poke, swap(3, 0), mint, swap(4, 1), poke]) == (
        swap(3, 0),
        mint,
        swap(4, 1),
    )


def test_the_tick_after_every_swap_of_a_day_on_mainnet_fits_the_price() -> None:
    events = [decoded.event for log in logs("usdc_weth_2024-01-05") if (decoded := decode(log))]
    swaps = [event for event in events if isinstance(event, Swap)]

    for each in swaps:
        price, _ = apply(Price(each.sqrt_price_x96, each.tick, each.liquidity), EMPTY, [each])
        assert price == Price(each.sqrt_price_x96, each.tick, each.liquidity)
    assert len(swaps) > 100
