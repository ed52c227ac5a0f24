import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.concentrated import Swap
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from streams.exex.seed import PoolEvent, Reorg, SeedMessage
from streams.exex.seed_assembly import SeedAssembly
from streams.exex.steps import AssembledBlock, AssembledReorg, Step
from streams.exex.violations import ImpossibleAmount

POOL, OTHER = PoolId("0x" + "b0" * 20), PoolId("0x" + "b1" * 20)
Updates = dict[PoolId, tuple[Event, ...]]
HASH = "0x" + 64 * "1"


def event(number: int, pool: PoolId = POOL, liquidity: int = 1) -> PoolEvent:
    return PoolEvent(pool, number, Swap(2**96, liquidity, 0))


def block(number: int, *events: PoolEvent, part: int = 0) -> AssembledBlock:
    updates: Updates = {}
    for emitted in events:
        updates[emitted.pool] = (*updates.get(emitted.pool, ()), emitted.event)
    return AssembledBlock(number, None, None, updates, part)


def assembled(messages: list[SeedMessage]) -> list[Step]:
    assembly = SeedAssembly()
    return [step for message in messages for step in assembly.receive(message)] + assembly.flush()


def test_a_block_is_over_when_the_next_one_begins() -> None:
    assembly = SeedAssembly()

    assert assembly.receive(event(5)) == []
    assert assembly.receive(event(5, OTHER)) == []
    assert assembly.receive(event(7)) == [block(5, event(5), event(5, OTHER))]


def test_a_block_that_silence_cut_has_further_parts() -> None:
    assembly = SeedAssembly()
    assembly.receive(event(5))

    assert assembly.flush() == [block(5, event(5))]
    assert assembly.flush() == []
    assembly.receive(event(5, liquidity=2))
    assert assembly.receive(event(6)) == [block(5, event(5, liquidity=2), part=1)]
    assert assembly.flush() == [block(6, event(6))]


def test_the_ancestor_is_the_block_before_the_lowest_that_is_named() -> None:
    messages: list[SeedMessage] = [event(9), Reorg(9, HASH), Reorg(7, HASH), Reorg(8, HASH), event(7)]

    assert assembled(messages) == [block(9, event(9)), AssembledReorg(6, ()), block(7, event(7))]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30))
def test_no_event_is_lost_or_repeated(steps: list[tuple[int, bool]]) -> None:
    assembly, emitted, number, seen = SeedAssembly(), [], 1, []
    for place, (advance, silent) in enumerate(steps):
        number += advance // 4
        emitted.append(event(number, liquidity=place))
        seen += assembly.receive(emitted[-1])
        if silent:
            seen += assembly.flush()
    seen += assembly.flush()

    blocks = [step for step in seen if isinstance(step, AssembledBlock)]
    assert [e for b in blocks for e in b.updates[POOL]] == [e.event for e in emitted]
    assert len({(b.number, b.part) for b in blocks}) == len(blocks)


@pytest.mark.parametrize(
    "impossible",
    [
        Swap(1 << 160, 1, 0),
        Swap(1, 1, -(1 << 31)),
        LiquidityChange(-60, (1 << 31) - 1, 1),
        LiquidityChange(-60, 60, (1 << 128) - 1),
    ],
)
def test_an_amount_that_no_contract_can_hold_is_a_broken_promise(impossible: Swap | LiquidityChange) -> None:
    with pytest.raises(ImpossibleAmount, match=f"block 5: an update of {POOL}"):
        SeedAssembly().receive(PoolEvent(POOL, 5, impossible))


def test_a_reorg_of_the_first_blocks_has_the_block_before_the_lowest_as_its_ancestor() -> None:
    assert assembled([Reorg(1, HASH), Reorg(0, HASH), Reorg(2, HASH)]) == [AssembledReorg(-1, ())]
