"""Tick arithmetic against known values of TickMath and against a dict that knows nothing of parts."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.ticks import (
    MAX_TICK,
    MIN_TICK,
    UINT128,
    InvariantViolation,
    Liquidity,
    LiquidityChange,
    Tick,
    Ticks,
    changed,
    check_fits,
    differing,
    from_ticks,
    net_between,
    net_up_to,
    sqrt_ratio_at_tick,
    word_of,
)

EMPTY = Ticks(60, {})
SPACINGS = [1, 10, 60, 200]
FULL_RANGE = {1: 887272, 10: 887270, 60: 887220, 200: 887200}


@pytest.mark.parametrize(
    ("tick", "ratio"),
    [
        (MIN_TICK, 4295128739),
        (MIN_TICK + 1, 4295343490),
        (-250000, 295440463448801648376846),
        (-50, 79030349367926598376800521322),
        (-1, 79224201403219477170569942574),
        (0, 1 << 96),
        (1, 79232123823359799118286999568),
        (50, 79426470787362580746886972461),
        (250000, 21246587762933397357449903968194344),
        (MAX_TICK - 1, 1461373636630004318706518188784493106690254656249),
        (MAX_TICK, 1461446703485210103287273052203988822378723970342),
    ],
)
def test_ratios_are_those_of_uniswaps_own_tests(tick: int, ratio: int) -> None:
    assert sqrt_ratio_at_tick(tick) == ratio


@given(st.integers(MIN_TICK, MAX_TICK))
def test_ratios_are_within_a_unit_of_the_exact_power_and_rise(tick: int) -> None:
    ratio = sqrt_ratio_at_tick(tick)

    exact_squared = (10001**tick << 192, 10000**tick) if 0 <= tick < 500 else None
    if exact_squared:
        assert (ratio - 1) ** 2 * exact_squared[1] <= exact_squared[0] <= (ratio + 1) ** 2 * exact_squared[1]
    assert tick == MIN_TICK or sqrt_ratio_at_tick(tick - 1) < ratio
    assert abs(ratio / 2**96 / 1.0001 ** (tick / 2) - 1) < 1e-6


@pytest.mark.parametrize("tick", [MIN_TICK - 1, MAX_TICK + 1])
def test_there_is_no_ratio_out_of_range(tick: int) -> None:
    with pytest.raises(InvariantViolation):
        sqrt_ratio_at_tick(tick)


@given(st.integers(MIN_TICK, MAX_TICK - 1))
def test_a_tick_fits_the_prices_from_its_lower_to_its_upper_end_and_no_other(tick: int) -> None:
    low, high = sqrt_ratio_at_tick(tick), sqrt_ratio_at_tick(tick + 1)

    for price in (low, high - 1, high):
        check_fits(tick, price)
    for price in (low - 1, high + 1):
        with pytest.raises(InvariantViolation):
            check_fits(tick, price)


@pytest.mark.parametrize(
    ("tick", "spacing", "word"),
    [(0, 60, 0), (-1, 1, -1), (-60, 60, -1), (15300, 60, 0), (15360, 60, 1), (-15360, 60, -1), (-15420, 60, -2)],
)
def test_words_are_floored_also_below_zero(tick: int, spacing: int, word: int) -> None:
    assert word_of(tick, spacing) == word


@pytest.mark.parametrize(("spacing", "words"), [(1, 6932), (10, 694), (60, 116), (200, 36)])
def test_the_full_range_has_as_many_words_as_the_bitmap(spacing: int, words: int) -> None:
    assert word_of(MAX_TICK, spacing) - word_of(MIN_TICK, spacing) + 1 == words


def test_a_mint_adds_net_below_and_takes_it_above_and_adds_gross_to_both() -> None:
    ticks = changed(EMPTY, LiquidityChange(-60, 120, 7))

    assert tuple(ticks) == (Tick(-60, 7, 7), Tick(120, 7, -7))


def test_a_tick_with_no_net_is_still_there() -> None:
    ticks = changed(changed(EMPTY, LiquidityChange(-60, 0, 7)), LiquidityChange(0, 60, 7))

    assert tuple(ticks) == (Tick(-60, 7, 7), Tick(0, 14, 0), Tick(60, 7, -7))


def test_burning_everything_forgets_the_ticks() -> None:
    ticks = changed(changed(EMPTY, LiquidityChange(-60, 120, 7)), LiquidityChange(-60, 120, -7))

    assert ticks == EMPTY


def test_one_of_two_positions_burnt_leaves_the_shared_tick() -> None:
    both = changed(changed(EMPTY, LiquidityChange(-60, 0, 7)), LiquidityChange(0, 60, 7))

    assert tuple(changed(both, LiquidityChange(-60, 0, -7))) == (Tick(0, 7, 7), Tick(60, 7, -7))


def test_a_poke_creates_no_tick() -> None:
    assert changed(EMPTY, LiquidityChange(-60, 120, 0)) == EMPTY


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_full_range_of_every_spacing_is_a_range(spacing: int) -> None:
    end = FULL_RANGE[spacing]

    assert tuple(changed(Ticks(spacing, {}), LiquidityChange(-end, end, 1))) == (Tick(-end, 1, 1), Tick(end, 1, -1))


@pytest.mark.parametrize(
    ("lower", "upper"), [(0, 0), (60, 0), (-61, 60), (0, 61), (-887280, 0), (0, 887280), (-887272, 887272)]
)
@pytest.mark.parametrize("delta", [1, 0, -1])
def test_an_invalid_tick_range_is_refused(lower: int, upper: int, delta: int) -> None:
    with pytest.raises(InvariantViolation):
        changed(EMPTY, LiquidityChange(lower, upper, delta))


def test_liquidity_fills_a_uint128_and_no_more() -> None:
    full = changed(EMPTY, LiquidityChange(-60, 60, UINT128 - 1))

    assert tuple(full) == (Tick(-60, UINT128 - 1, UINT128 - 1), Tick(60, UINT128 - 1, 1 - UINT128))
    with pytest.raises(InvariantViolation):
        changed(full, LiquidityChange(60, 120, 1))


def test_more_cannot_be_burnt_than_there_is() -> None:
    with pytest.raises(InvariantViolation):
        changed(changed(EMPTY, LiquidityChange(-60, 60, 5)), LiquidityChange(-60, 60, -6))


def test_a_burn_of_another_range_cannot_leave_net_beyond_gross() -> None:
    ticks = changed(changed(EMPTY, LiquidityChange(-60, 60, 5)), LiquidityChange(60, 120, 5))

    with pytest.raises(InvariantViolation):
        changed(ticks, LiquidityChange(-120, 60, -5))


def test_a_tick_named_twice_is_refused() -> None:
    with pytest.raises(InvariantViolation, match="twice"):
        from_ticks(60, [Tick(60, 1, 1), Tick(60, 1, -1)])


def test_a_change_leaves_the_state_before_it_as_it_was_and_shares_the_other_parts() -> None:
    far = changed(EMPTY, LiquidityChange(600_000, 600_060, 3))
    before = tuple(far)

    near = changed(far, LiquidityChange(-60, 60, 7))

    assert tuple(far) == before
    assert near.parts[word_of(600_000, 60)] is far.parts[word_of(600_000, 60)]


@st.composite
def positions(draw: st.DrawFn) -> tuple[int, Counter[tuple[int, int]], list[LiquidityChange]]:
    """Spacing, liquidity by range, and changes that lead there, with burns on the way."""
    spacing = draw(st.sampled_from(SPACINGS))
    last = FULL_RANGE[spacing] // spacing
    end = st.one_of(st.integers(-4, 4), st.sampled_from([-last, -257, -256, 255, 256, last]))
    held: Counter[tuple[int, int]] = Counter()
    changes = []
    for lower, upper, amount, part in draw(st.lists(st.tuples(end, end, st.integers(1, 1 << 100), st.integers(0, 3)))):
        if lower >= upper:
            continue
        range_ = lower * spacing, upper * spacing
        changes.append(LiquidityChange(*range_, amount))
        held[range_] += amount
        if burnt := held[range_] * part // 3:
            changes.append(LiquidityChange(*range_, -burnt))
            held[range_] -= burnt
    return spacing, +held, changes


@given(positions(), st.integers(MIN_TICK, MAX_TICK), st.integers(MIN_TICK, MAX_TICK))
def test_any_positions_give_the_ticks_and_sums_of_a_naive_count(
    made: tuple[int, Counter[tuple[int, int]], list[LiquidityChange]], one: int, other: int
) -> None:
    spacing, held, changes = made
    low, high = sorted((one, other))

    ticks = Ticks(spacing, {})
    for change in changes:
        ticks = changed(ticks, change)

    gross: Counter[int] = Counter()
    net: Counter[int] = Counter()
    for (lower, upper), amount in held.items():
        gross.update({lower: amount, upper: amount})
        net.update({lower: amount, upper: -amount})
    assert tuple(ticks) == tuple(Tick(tick, gross[tick], net[tick]) for tick in sorted(gross))
    assert ticks == from_ticks(spacing, ticks)
    assert len(ticks) == len(gross)
    for at in (*gross, low, high):
        active = sum(amount for (lower, upper), amount in held.items() if lower <= at < upper)
        assert net_up_to(ticks, at) == active
    assert net_between(ticks, low, high) == net_up_to(ticks, high) - net_up_to(ticks, low)


@given(positions())
def test_the_ticks_in_which_two_versions_differ_are_those_of_a_naive_comparison(
    made: tuple[int, Counter[tuple[int, int]], list[LiquidityChange]],
) -> None:
    spacing, _, changes = made
    versions: list[Ticks | None] = [None, Ticks(spacing, {})]
    for change in changes:
        versions.append(changed(versions[-1] or Ticks(spacing, {}), change))
    versions.append(from_ticks(spacing, versions[-1] or ()))

    for before, after in product(versions[-4:], repeat=2):
        held = {each.tick: each for each in before or ()}
        left = {each.tick: each for each in after or ()}
        assert differing(before, after) == sorted(
            tick for tick in held.keys() | left.keys() if held.get(tick) != left.get(tick)
        )


def test_one_tick_is_looked_up() -> None:
    ticks = changed(EMPTY, LiquidityChange(-60, 600_000, 7))

    assert (ticks.get(-60), ticks.get(600_000), ticks.get(0)) == (Liquidity(7, 7), Liquidity(7, -7), None)
