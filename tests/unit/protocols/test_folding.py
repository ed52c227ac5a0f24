"""States taken apart, folded and compared, whatever the protocol."""

import pytest

from lab.fuzz.chain_model import metadata
from protocols.concentrated import Price, Swap
from protocols.dex import PoolState
from protocols.folding import apply, compact, differences, from_snapshot, is_initialized
from protocols.registry import State
from protocols.ticks import InvariantViolation, LiquidityChange, Tick, Ticks
from protocols.v2 import Sync, V2State
from protocols.v3 import V3State
from protocols.v4 import V4State

V2, V3, V4 = metadata(0, "v2"), metadata(1, "v3"), metadata(2, "v4")
TICKS = (Tick(-60, 5, 5), Tick(60, 5, -5))
V3_STATE = V3State(1 << 96, 0, 5, TICKS)
V4_STATE = V4State(1 << 96, 0, 5, TICKS, lp_fee=3000, protocol_fee=0)


@pytest.mark.parametrize(
    ("pool", "state"), [(V2, V3_STATE), (V2, V4_STATE), (V3, V2State(1, 1)), (V3, V4_STATE), (V4, V3_STATE)]
)
def test_a_state_of_another_protocol_is_refused(pool: object, state: State) -> None:
    with pytest.raises(InvariantViolation, match="cannot have a state"):
        from_snapshot(pool, state)  # type: ignore[arg-type]


def test_v3_and_v4_are_the_same_but_for_the_fees() -> None:
    assert from_snapshot(V3, V3_STATE) == from_snapshot(V4, V4_STATE)


def test_a_broken_snapshot_is_refused() -> None:
    with pytest.raises(InvariantViolation, match="active liquidity"):
        from_snapshot(V3, V3State(1 << 96, 0, 6, TICKS))


def test_the_last_sync_is_the_state() -> None:
    before = from_snapshot(V2, V2State(1, 2))

    assert apply(before, [Sync(3, 4), Sync(5, 6)]) == from_snapshot(V2, V2State(5, 6))
    assert compact([Sync(3, 4), Sync(5, 6)]) == (Sync(5, 6),)


def test_a_pair_has_no_swap_of_v3() -> None:
    with pytest.raises(InvariantViolation, match="V2 pool cannot have a Swap"):
        apply(from_snapshot(V2, V2State(1, 2)), [Swap(1, 1, 1)])


def test_no_events_are_compacted_to_none() -> None:
    assert compact([]) == ()


def test_a_pool_without_a_price_is_not_initialized_and_an_empty_pair_is() -> None:
    assert not is_initialized(Price(0, 0, 0))
    assert is_initialized(Price(1 << 96, 0, 0))
    assert is_initialized(V2State(0, 0))


def test_equal_states_differ_in_nothing() -> None:
    assert differences(from_snapshot(V3, V3_STATE), from_snapshot(V4, V4_STATE)) == ()


def test_differences_are_listed_field_by_field_and_tick_by_tick() -> None:
    ours = from_snapshot(V3, V3_STATE)
    theirs = apply(ours, [LiquidityChange(-60, 120, 1)])

    assert differences(ours, theirs) == (
        "liquidity: held 5, chain 6",
        f"tick -60: held {Tick(-60, 5, 5)}, chain {Tick(-60, 6, 6)}",
        f"tick 120: held None, chain {Tick(120, 1, -1)}",
    )
    assert differences(from_snapshot(V2, V2State(1, 2)), from_snapshot(V2, V2State(1, 3))) == (
        "reserve1: held 2, chain 3",
    )


def test_folding_leaves_the_state_before_it_as_it_was() -> None:
    before = from_snapshot(V3, V3_STATE)

    apply(before, [LiquidityChange(-60, 60, -5)])

    assert before == PoolState(Price(1 << 96, 0, 5), Ticks(60, {-1: before.ticks.parts[-1], 0: before.ticks.parts[0]}))
    assert tuple(before.ticks) == TICKS
