from collections.abc import Iterable
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.concentrated import Swap
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from protocols.v2 import Sync, V2State
from streams.exex.assembly import Assembly
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    PoolFinal,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
    Skipped,
)
from streams.exex.steps import AssembledBlock, AssembledReorg, Step
from streams.exex.violations import (
    BlockNumberMismatch,
    ClampedValue,
    ImpossibleAmount,
    ProtocolViolation,
    ReorgRangeMismatch,
    ReorgStartMissing,
    SequenceGap,
    UnexpectedMessage,
    UpdateCountMismatch,
    UpdatesOutOfOrder,
)

POOLS = [PoolId(f"0x{number:040x}") for number in range(1, 4)]
Updates = list[tuple[PoolId, Sync | Swap | LiquidityChange]]


def numbered(messages: Iterable[Message], first: int = 1) -> list[Message]:
    return [msgspec.structs.replace(m, stream_seq=seq) for seq, m in zip(count(first), messages, strict=False)]


def block(number: int, updates: Updates, reverted: bool = False) -> list[Message]:
    emitted = [
        PoolUpdate(0, pool, "v2", "swap", number, 1000 + number, place // 2, place, reverted, event)
        for place, (pool, event) in enumerate(updates)
    ]
    body = emitted[::-1] if reverted else emitted
    return [BeginBlock(0, number, 1000 + number, 7, reverted), *body, EndBlock(0, number, len(emitted))]


def reorg(old: list[tuple[int, Updates]], new: list[tuple[int, Updates]]) -> list[Message]:
    ancestor = old[0][0] - 1
    tip = new[-1][0] if new else ancestor
    return [
        ReorgStart(0, span(old), span(new)),
        *(m for number, updates in reversed(old) for m in block(number, updates, reverted=True)),
        *(m for number, updates in new for m in block(number, updates)),
        ReorgEpilogue(0, tip, 1000 + tip, PoolFinal(POOLS[0], "v2", V2State(1, 2))),
        ReorgComplete(0, tip),
    ]


def span(blocks: list[tuple[int, Updates]]) -> ReorgRange:
    return ReorgRange(blocks[0][0], blocks[-1][0], len(blocks)) if blocks else ReorgRange(None, None, 0)


def fed(number: int, updates: Updates) -> AssembledBlock:
    grouped: dict[PoolId, tuple[Event, ...]] = {}
    for pool, event in updates:
        grouped[pool] = (*grouped.get(pool, ()), event)
    return AssembledBlock(number, 1000 + number, 7, grouped)


def assembled(messages: Iterable[Message]) -> list[Step]:
    assembly = Assembly()
    return [step for message in messages if (step := assembly.receive(message)) is not None]


def survived(messages: Iterable[Message]) -> tuple[list[Step], list[ProtocolViolation]]:
    """As the bridge reads: after a broken promise it joins again with the message that broke it."""
    assembly, steps, broken = Assembly(), [], []
    for message in messages:
        try:
            step = assembly.receive(message)
        except ProtocolViolation as error:
            broken.append(error)
            assembly = Assembly()
            step = assembly.receive(message)
        if step is not None:
            steps.append(step)
    return steps, broken


events = st.one_of(
    st.builds(Sync, st.integers(0, 2**112 - 1), st.integers(0, 2**112 - 1)),
    st.builds(Swap, st.integers(1, 2**160 - 1), st.integers(0, 2**128 - 1), st.integers(-887272, 887272)),
    st.builds(LiquidityChange, st.integers(-60, -1), st.integers(0, 60), st.integers(-(2**127) + 1, 2**127 - 2)),
)
updates_of_a_block = st.lists(st.tuples(st.sampled_from(POOLS), events), max_size=4)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[list[list[Message]], list[Step]]:
    """What a feed sends, step by step, and the steps that it means."""
    chain: list[tuple[int, Updates]] = [(100, draw(updates_of_a_block))]
    emitted = [block(*chain[0])]
    meant: list[Step] = [fed(*chain[0])]
    for _ in range(draw(st.integers(1, 8))):
        depth = draw(st.integers(0, min(3, len(chain) - 1)))
        tip = chain[-1][0]
        if depth == 0:
            chain.append((tip + 1, draw(updates_of_a_block)))
            emitted.append(block(*chain[-1]))
            meant.append(fed(*chain[-1]))
            continue
        old, chain = chain[-depth:], chain[:-depth]
        length = draw(st.integers(0, depth + 1))
        new = [(old[0][0] + step, draw(updates_of_a_block)) for step in range(length)]
        chain += new
        emitted.append(reorg(old, new))
        meant.append(AssembledReorg(old[0][0] - 1, tuple(fed(*each) for each in new)))
    return emitted, meant


def flat(emitted: list[list[Message]]) -> list[Message]:
    return numbered(message for step in emitted for message in step)


@given(scripts())
def test_complete_messages_give_complete_steps(script: tuple[list[list[Message]], list[Step]]) -> None:
    emitted, meant = script

    assert assembled(flat(emitted)) == meant


@given(scripts(), st.data())
def test_any_lost_message_is_noticed_and_costs_only_the_steps_around_it(
    script: tuple[list[list[Message]], list[Step]], data: st.DataObject
) -> None:
    emitted, meant = script
    messages = flat(emitted)
    lost = data.draw(st.integers(1, len(messages) - 2))

    steps, broken = survived(messages[:lost] + messages[lost + 1 :])

    assert isinstance(broken[0], SequenceGap)
    assert (broken[0].expected, broken[0].received) == (lost + 1, lost + 2)
    blocks = {each.number for step in meant for each in (step.blocks if isinstance(step, AssembledReorg) else [step])}
    assert all(step in meant or (isinstance(step, AssembledBlock) and step.number in blocks) for step in steps)


@given(scripts(), st.data())
def test_joining_anywhere_gives_whole_steps_only(
    script: tuple[list[list[Message]], list[Step]], data: st.DataObject
) -> None:
    emitted, meant = script
    messages = flat(emitted)
    joined = data.draw(st.integers(0, len(messages) - 1))

    steps, broken = survived(messages[joined:])

    wholes = [
        each for step in meant for each in ((step, *step.blocks) if isinstance(step, AssembledReorg) else (step,))
    ]
    assert all(step in wholes for step in steps)
    assert all(isinstance(error, ReorgStartMissing | UnexpectedMessage) for error in broken)
    ends = [len(flat(emitted[: index + 1])) for index in range(len(emitted))]
    later = [step for step, end, part in zip(meant, ends, emitted, strict=True) if end - len(part) >= joined]
    assert steps[len(steps) - len(later) :] == later


def test_joining_inside_a_reverted_block_waits_for_the_reorg_to_end() -> None:
    messages = numbered([*reorg([(5, [(POOLS[0], Sync(1, 1))])], [(5, []), (6, [])]), *block(7, [])])

    assert assembled(messages[1:]) == [fed(7, [])]
    assert assembled(messages[2:]) == [fed(7, [])]


def test_joining_in_the_second_half_of_a_reorg_is_noticed_at_its_end() -> None:
    messages = numbered(reorg([(5, [])], [(5, []), (6, [])]))
    second_half = messages.index(next(m for m in messages if isinstance(m, BeginBlock) and not m.is_revert))

    steps, broken = survived(messages[second_half:])

    assert steps == [fed(5, []), fed(6, [])]
    assert isinstance(broken[0], ReorgStartMissing)
    assert broken[0].tip == 6


def test_a_wrong_count_is_refused_with_both_counts() -> None:
    messages = numbered([*block(5, [(POOLS[0], Sync(1, 1))])[:-1], EndBlock(0, 5, 2)])

    with pytest.raises(UpdateCountMismatch, match="block 5 ended with 2 updates announced and 1 received"):
        assembled(messages)


def test_skipped_updates_count() -> None:
    messages = numbered([BeginBlock(0, 5, 1005, 7, False), Skipped(0, 6, 5, 1005, False), EndBlock(0, 5, 1)])

    assert assembled(messages) == [fed(5, [])]


def test_an_update_of_another_block_is_refused() -> None:
    messages = numbered([*block(5, [])[:1], *block(6, [(POOLS[0], Sync(1, 1))])[1:]])

    with pytest.raises(BlockNumberMismatch, match="an update of block 6 inside block 5"):
        assembled(messages)


def test_the_end_of_another_block_is_refused() -> None:
    with pytest.raises(BlockNumberMismatch, match="the end of block 6 inside block 5"):
        assembled(numbered([*block(5, [])[:1], *block(6, [])[1:]]))


def test_updates_out_of_log_order_are_refused() -> None:
    begin, one, two, end = block(5, [(POOLS[0], Sync(1, 1)), (POOLS[1], Sync(2, 2))])

    with pytest.raises(UpdatesOutOfOrder):
        assembled(numbered([begin, two, one, end]))


@pytest.mark.parametrize("delta", [2**127 - 1, -(2**127)])
def test_a_value_at_the_limit_of_i128_is_a_broken_promise(delta: int) -> None:
    messages = numbered(block(5, [(POOLS[2], LiquidityChange(-60, 60, delta))]))

    with pytest.raises(ClampedValue, match=f"block 5: a liquidity change of {POOLS[2]}"):
        assembled(messages)


IMPOSSIBLE: list[Sync | Swap | LiquidityChange] = [
    Sync(1 << 112, 1),
    Swap(1 << 160, 1, 0),
    Swap(1, 1 << 128, 0),
    LiquidityChange(-(1 << 23) - 1, 60, 1),
]


@pytest.mark.parametrize("event", IMPOSSIBLE)
def test_an_amount_that_no_contract_can_hold_is_a_broken_promise(event: Sync | Swap | LiquidityChange) -> None:
    messages = numbered(block(5, [(POOLS[2], event)]))

    with pytest.raises(ImpossibleAmount, match=f"block 5: an update of {POOLS[2]}: .* is .*, and it is"):
        assembled(messages)


def test_a_block_that_begins_inside_another_is_refused() -> None:
    with pytest.raises(UnexpectedMessage, match="block 6 began before block 5 ended"):
        assembled(numbered([*block(5, [])[:1], *block(6, [])]))


def test_a_reverted_block_outside_a_reorg_is_refused() -> None:
    with pytest.raises(UnexpectedMessage, match="block 5 was reverted outside a reorg"):
        assembled(numbered([*block(5, []), *block(5, [], reverted=True)]))


def test_a_reorg_that_brings_other_blocks_than_announced_is_refused() -> None:
    start, *rest = reorg([(5, [])], [(5, []), (6, [])])
    assert isinstance(start, ReorgStart)
    messages = numbered([msgspec.structs.replace(start, new=ReorgRange(5, 7, 3)), *rest])

    with pytest.raises(
        ReorgRangeMismatch, match=r"announced blocks \(first, last, count\) \(5, 7, 3\) and brought \[5, 6\]"
    ):
        assembled(messages)


def test_a_reorg_of_more_blocks_than_fit_in_memory_is_refused() -> None:
    start, *rest = reorg([(5, [])], [(5, []), (6, [])])
    assert isinstance(start, ReorgStart)
    messages = numbered([msgspec.structs.replace(start, new=ReorgRange(5, 2**64 - 1, 2)), *rest])

    with pytest.raises(ReorgRangeMismatch):
        assembled(messages)


def test_a_shorter_chain_is_a_reorg_without_blocks() -> None:
    assert assembled(numbered([*block(4, []), *block(5, []), *reorg([(4, []), (5, [])], [])])) == [
        fed(4, []),
        fed(5, []),
        AssembledReorg(3, ()),
    ]


def test_a_feed_started_again_in_the_same_connection_is_a_sequence_gap() -> None:
    with pytest.raises(SequenceGap, match="expected message 3 of the feed, received 1"):
        assembled([*numbered(block(5, [])), *numbered(block(6, []))])
