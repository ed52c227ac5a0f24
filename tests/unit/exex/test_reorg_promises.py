"""A reorg is one step or a named violation: what it announces, takes back, brings and ends with must agree."""

from collections.abc import Callable, Iterable

import pytest
from msgspec.structs import replace

from protocols.concentrated import Price
from protocols.v2 import Sync, V2State
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
    SkippedFinal,
)
from streams.exex.steps import AssembledReorg
from streams.exex.violations import (
    ImpossibleAmount,
    ImpossibleReorgRange,
    ProtocolViolation,
    ReorgRangeMismatch,
    ReorgTipMismatch,
    TimestampMismatch,
    UnexpectedReorgBlock,
)
from tests.unit.exex.test_assembly import POOLS, Updates, assembled, block, fed, numbered, reorg, survived

OLD: list[tuple[int, Updates]] = [(5, [(POOLS[0], Sync(1, 1)), (POOLS[1], Sync(2, 2))]), (6, [])]
NEW: list[tuple[int, Updates]] = [(5, []), (6, [(POOLS[0], Sync(3, 3))]), (7, [])]
REORG = reorg(OLD, NEW)
STEP = AssembledReorg(4, tuple(fed(*each) for each in NEW))
SHORTENING = reorg(OLD, [])


def changed(messages: Iterable[Message], change: Callable[[Message], Message]) -> list[Message]:
    return numbered(change(message) for message in messages)


def with_tip(tip: int) -> Callable[[Message], Message]:
    return lambda message: replace(message, final_tip_block=tip) if isinstance(message, ReorgComplete) else message


def test_a_whole_reorg_is_one_step() -> None:
    assert assembled(numbered(REORG)) == [STEP]


@pytest.mark.parametrize("tip", [0, 4, 6, 8, 2**64 - 1])
def test_a_reorg_that_ends_with_another_tip_than_its_last_block_is_refused(tip: int) -> None:
    with pytest.raises(ReorgTipMismatch, match=f"leads to block 7 ended with block {tip} as its tip"):
        assembled(changed(REORG, with_tip(tip)))


@pytest.mark.parametrize("tip", [0, 3, 5, 6])
def test_a_shortening_that_ends_with_another_tip_than_the_ancestor_is_refused(tip: int) -> None:
    with pytest.raises(ReorgTipMismatch, match=f"leads to block 4 ended with block {tip} as its tip"):
        assembled(changed(SHORTENING, with_tip(tip)))


def test_after_a_wrong_tip_the_next_block_is_read() -> None:
    steps, violations = survived(numbered([*changed(REORG, with_tip(6)), *block(8, [])]))

    assert steps == [fed(8, [])]
    assert [type(violation) for violation in violations] == [ReorgTipMismatch]


def test_an_epilogue_with_another_tip_is_refused() -> None:
    other = ReorgEpilogue(0, 6, 1006, SkippedFinal(0))

    with pytest.raises(ReorgTipMismatch):
        assembled(numbered([*REORG[:-1], other, REORG[-1]]))


def test_an_epilogue_before_the_last_block_is_refused() -> None:
    early = ReorgEpilogue(0, 7, 1007, SkippedFinal(0))

    with pytest.raises(ReorgRangeMismatch):
        assembled(numbered([*REORG[:-4], early, *REORG[-4:]]))


def test_the_timestamp_of_an_epilogue_means_nothing() -> None:
    """The golden frame of a V2 pool's has 0, those of the others the tip's."""
    untimed = [replace(each, final_tip_timestamp=0) if isinstance(each, ReorgEpilogue) else each for each in REORG]

    assert assembled(numbered(untimed)) == [STEP]


@pytest.mark.parametrize("price", [V2State(1 << 112, 1), Price(1 << 160, 0, 1), Price(1, 1 << 23, 1)])
def test_an_impossible_final_state_is_refused(price: V2State | Price) -> None:
    final = ReorgEpilogue(0, 7, 1007, PoolFinal(POOLS[0], "v2", price))

    with pytest.raises(ImpossibleAmount):
        assembled(numbered([*REORG[:-1], final, REORG[-1]]))


RANGES = [
    (ReorgRange(5, 6, 3), ReorgRange(5, 7, 3)),
    (ReorgRange(5, 6, 2), ReorgRange(5, 7, 2)),
    (ReorgRange(5, 6, 2), ReorgRange(6, 8, 3)),
    (ReorgRange(5, 6, 2), ReorgRange(4, 6, 3)),
    (ReorgRange(5, 6, 2), ReorgRange(5, 4, 0)),
    (ReorgRange(5, 4, 0), ReorgRange(5, 7, 3)),
    (ReorgRange(6, 5, 2), ReorgRange(5, 7, 3)),
    (ReorgRange(0, 1, 2), ReorgRange(0, 2, 3)),
    (ReorgRange(5, 2**64 - 1, 2), ReorgRange(5, 7, 3)),
]


@pytest.mark.parametrize(("old", "new"), RANGES)
def test_ranges_that_no_reorg_can_have_are_refused_at_its_start(old: ReorgRange, new: ReorgRange) -> None:
    with pytest.raises(ImpossibleReorgRange, match="no reorg can replace blocks"):
        assembled([ReorgStart(1, old, new)])


def without_block(number: int, *, is_revert: bool) -> list[Message]:
    kept, inside = [], False
    for message in REORG:
        if isinstance(message, BeginBlock):
            inside = (message.block_number, message.is_revert) == (number, is_revert)
        if not inside:
            kept.append(message)
        inside = inside and not isinstance(message, EndBlock)
    return numbered(kept)


@pytest.mark.parametrize("number", [5, 6])
def test_a_reverted_block_that_is_missing_is_noticed(number: int) -> None:
    with pytest.raises(UnexpectedReorgBlock):
        assembled(without_block(number, is_revert=True))


@pytest.mark.parametrize("number", [5, 6])
def test_a_new_block_that_is_missing_is_noticed_at_the_next(number: int) -> None:
    with pytest.raises(UnexpectedReorgBlock, match=f"new block {number + 1} began instead of new block {number}"):
        assembled(without_block(number, is_revert=False))


def test_a_last_block_that_is_missing_is_noticed_at_the_end() -> None:
    with pytest.raises(ReorgRangeMismatch, match=r"\(5, 7, 3\) and brought \[5, 6\]"):
        assembled(without_block(7, is_revert=False))


def test_reverted_blocks_that_are_missing_at_the_end_of_a_shortening_are_noticed() -> None:
    start, _, _, *rest = SHORTENING
    with pytest.raises(UnexpectedReorgBlock, match="reverted block 5 began instead of reverted block 6"):
        assembled(numbered([start, *rest]))


def test_a_reverted_block_after_a_new_one_is_refused() -> None:
    late = [*REORG[:-2], *block(8, [], reverted=True), *REORG[-2:]]

    with pytest.raises(UnexpectedReorgBlock, match="reverted block 8 began instead of new block 8"):
        assembled(numbered(late))


def test_reverted_updates_may_come_in_any_order() -> None:
    """Nothing depends on it."""
    start, *rest = REORG
    begin, *updates, end = block(5, OLD[0][1], reverted=True)

    messages = numbered([start, *block(6, [], reverted=True), begin, *reversed(updates), end, *rest[6:]])

    assert assembled(messages) == [STEP]


def test_an_update_of_another_time_than_its_block_is_refused() -> None:
    begin, update, end = block(5, [(POOLS[0], Sync(1, 1))])
    assert isinstance(update, PoolUpdate)

    with pytest.raises(TimestampMismatch, match="block 5 began with timestamp 1005, an update of it has 1006"):
        assembled(numbered([begin, replace(update, block_timestamp=1006), end]))


SKIPPED = [
    Skipped(0, 6, 6, 1005, False),
    Skipped(0, 6, 5, 1006, False),
    Skipped(0, 6, 5, 1005, True),
]


@pytest.mark.parametrize("skipped", SKIPPED)
def test_an_update_of_another_dex_must_be_of_its_block_too(skipped: Skipped) -> None:
    with pytest.raises(ProtocolViolation):
        assembled(numbered([BeginBlock(0, 5, 1005, 7, False), skipped, EndBlock(0, 5, 1)]))


def test_who_joins_at_a_reverted_update_of_another_dex_waits_for_the_reorg_to_end() -> None:
    skipped = Skipped(0, 6, 5, 1005, True)
    rest = [skipped, EndBlock(0, 5, 1), *block(5, []), *block(6, []), *REORG[-2:], *block(8, [])]

    steps, violations = survived(numbered(rest))

    assert steps == [fed(8, [])]
    assert violations == []


def test_a_reorg_after_one_that_was_joined_in_the_middle_is_read() -> None:
    """A feed that never ended the first one is not waited for."""
    steps, violations = survived(numbered([*REORG[1:5], *REORG]))

    assert (steps, violations) == ([STEP], [])


def test_a_sequence_that_begins_at_0_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="expected message 1 of the feed, received 0"):
        assembled(numbered(block(5, []), first=0))
