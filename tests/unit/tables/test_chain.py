"""The canonical chain of a partition: whole blocks in sequence, or an Invalidated with the reason."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import ChainItem
from protocols.types import Block, PoolId
from protocols.v2 import Sync
from streams.kafka.records import Gap, Head, Header, Reorg, Update
from tables.chain import BlockCompleted, CanonicalChain, Invalidated, Rewound, Started, Step, UndecodableUpdate, follow
from tables.pool import Reason, WaitingKind

A, B = PoolId("0x" + "aa" * 20), PoolId("0x" + "bb" * 20)


def hash_of(name: str) -> str:
    return f"0x{name.encode().hex():0>64}"


def block(name: str) -> Block:
    return Block(int(name[1:]), hash_of(name))


def head(name: str, parent: str, updates: int = 0) -> Head:
    return Head(Header(int(name[1:]), hash_of(name), hash_of(parent), timestamp=0), updates)


def update(name: str, pool: PoolId = A, reserve: int = 1, part: int = 0) -> Update:
    return Update(pool, block(name), (Sync(reserve, reserve),), part)


def fold(*records: ChainItem, chain: CanonicalChain | None = None) -> tuple[CanonicalChain, list[Step]]:
    chain = chain or CanonicalChain(8)
    steps: list[Step] = []
    for record in records:
        chain, more = follow(chain, record)
        steps += more
    return chain, steps


def five() -> CanonicalChain:
    return fold(*(head(f"a{at}", f"a{at - 1}") for at in range(1, 6)))[0]


def gap(detail: str) -> Reason:
    return Reason(WaitingKind.GAP, detail)


def only(steps: list[Step]) -> Step:
    (step,) = steps
    return step


def test_the_first_head_starts_the_chain() -> None:
    chain, steps = fold(update("a7"), head("a7", "a6", 1))

    assert steps == [Started(7), BlockCompleted(block("a7"), {A: (Sync(1, 1),)})]
    assert (chain.has(block("a7")), chain.has(block("a6")), chain.hash_at(8)) == (True, True, None)
    assert chain.since == 7


def test_updates_wait_for_their_head() -> None:
    chain, steps = fold(update("a6"), update("a6", B), chain=five())

    assert steps == []
    _, steps = fold(head("a6", "a5", 2), chain=chain)
    assert steps == [BlockCompleted(block("a6"), {A: (Sync(1, 1),), B: (Sync(1, 1),)})]


@pytest.mark.parametrize("said", [0, 2])
def test_a_head_with_another_count_invalidates_every_pool(said: int) -> None:
    chain, steps = fold(update("a6"), head("a6", "a5", said), chain=five())

    assert only(steps) == Invalidated(6, gap(f"1 of {said} updates of block 6 arrived"))
    assert (chain.head, chain.since, chain.partial) == (head("a6", "a5").block, 7, ())


def test_a_head_on_another_parent_invalidates_every_pool_and_the_chain_starts_there() -> None:
    chain, steps = fold(head("b6", "b5"), chain=five())

    assert isinstance(only(steps), Invalidated)
    assert chain.heads == (head("b6", "b5").block,)
    assert fold(head("b7", "b6"), chain=chain)[1] == [BlockCompleted(block("b7"), {})]


def test_a_head_with_another_number_than_the_next_invalidates_every_pool() -> None:
    _, steps = fold(Head(Header(9, hash_of("a9"), hash_of("a5"), 0), 0), chain=five())

    assert isinstance(only(steps), Invalidated)


def test_a_repeated_head_changes_nothing() -> None:
    chain, steps = fold(update("a5"), head("a5", "a4", 1), head("a3", "a2"), chain=five())

    assert (chain, steps) == (five(), [])


def test_a_repeated_update_counts_once() -> None:
    _, steps = fold(update("a6"), update("a6"), head("a6", "a5", 1), chain=five())

    assert steps == [BlockCompleted(block("a6"), {A: (Sync(1, 1),)})]


def test_parts_are_joined_in_their_order() -> None:
    _, steps = fold(update("a6", A, 2, part=1), update("a6", A, 1, part=0), head("a6", "a5", 2), chain=five())

    assert steps == [BlockCompleted(block("a6"), {A: (Sync(1, 1), Sync(2, 2))})]


def test_two_different_updates_of_one_pool_and_part_invalidate_every_pool() -> None:
    _, steps = fold(update("a6", A, 1), update("a6", A, 2), head("a6", "a5", 1), chain=five())

    assert only(steps) == Invalidated(6, gap("two different updates of one pool in block 6"))


def test_updates_of_a_bridge_on_another_fork_do_not_count() -> None:
    _, steps = fold(update("b6", B), update("a6"), update("b6", A), head("a6", "a5", 1), chain=five())

    assert steps == [BlockCompleted(block("a6"), {A: (Sync(1, 1),)})]


def test_updates_cut_off_by_a_reorg_do_not_count_in_the_next_block() -> None:
    _, steps = fold(update("a6"), Reorg(block("a5")), head("a6", "a5", 0), chain=five())

    assert steps == [BlockCompleted(block("a6"), {})]


def test_an_undecodable_update_counts_as_one_that_arrived() -> None:
    chain, steps = fold(UndecodableUpdate(A), update("a6", B), head("a6", "a5", 2), chain=five())

    assert steps == [BlockCompleted(block("a6"), {B: (Sync(1, 1),)}, (A,))]
    assert chain.undecodable == ()


def test_a_reorg_goes_back_to_the_ancestor() -> None:
    chain, steps = fold(Reorg(block("a3")), chain=five())

    assert steps == [Rewound(block("a3"))]
    assert (chain.head, chain.has(block("a4"))) == (head("a3", "a2").block, False)
    assert fold(head("b4", "a3"), chain=chain)[1] == [BlockCompleted(block("b4"), {})]


def test_a_reorg_to_the_head_changes_nothing() -> None:
    assert fold(Reorg(block("a5")), chain=five()) == (five(), [])


@pytest.mark.parametrize("ancestor", ["b3", "a0", "a9"])
def test_a_reorg_to_an_unknown_block_invalidates_every_pool(ancestor: str) -> None:
    chain, steps = fold(Reorg(block(ancestor)), chain=five())

    assert isinstance(only(steps), Invalidated)
    assert "not in memory" in steps[0].reason.detail  # type: ignore[union-attr]
    assert (chain.heads, chain.since) == ((), int(ancestor[1:]) + 1)


def test_a_gap_forgets_the_chain_and_the_next_head_starts_it_again() -> None:
    chain, steps = fold(update("a6"), Gap(6, 8, "the node has forgotten them"), head("a9", "a8"), chain=five())

    assert steps == [Invalidated(8, gap("the node has forgotten them")), Started(9), BlockCompleted(block("a9"), {})]
    assert len(chain.heads) == 1


def test_memory_is_bounded_and_a_reorg_beyond_it_invalidates_every_pool() -> None:
    chain, _ = fold(*(head(f"a{at}", f"a{at - 1}") for at in range(1, 100)), *(update(f"x{at}") for at in range(50)))
    chain, _ = fold(head("a100", "a99"), chain=chain)

    assert (len(chain.heads), chain.partial, chain.hash_at(92)) == (8, (), hash_of("a92"))
    assert chain.hash_at(91) is None
    assert isinstance(only(fold(Reorg(block("a92")), chain=chain)[1]), Invalidated)
    assert fold(Reorg(block("a93")), chain=chain)[1] == [Rewound(block("a93"))]


@given(st.lists(st.integers(0, 30), unique=True, max_size=10))
def test_a_lost_record_is_always_detected(lost: list[int]) -> None:
    """One update and one head for each of ten blocks, then one that is whole."""
    records = [each for at in range(6, 16) for each in (update(f"a{at}"), head(f"a{at}", f"a{at - 1}", 1))]
    left = [each for index, each in enumerate(records) if index not in lost]

    _, steps = fold(*left, head("a16", "a15"), chain=five())

    whole = [each.block for each in steps if isinstance(each, BlockCompleted) and each.block.number < 16]
    lost_blocks = {6 + index // 2 for index in lost if index < len(records)}
    assert not {each.number for each in whole} & lost_blocks
    invalidated = [each for each in steps if isinstance(each, Invalidated)]
    assert (invalidated != []) == (lost_blocks != set())
    if lost_blocks:
        assert max(each.last for each in invalidated) >= max(lost_blocks)


def test_records_of_a_replaced_bridge_do_not_count() -> None:
    chain, _ = fold(msgspec.structs.replace(head("a6", "a5"), term=2), chain=five())
    strays: list[ChainItem] = [
        msgspec.structs.replace(update("b7"), term=1),
        msgspec.structs.replace(head("b7", "a6", 1), term=1),
        Reorg(block("a5"), term=1),
        Gap(1, 7, "not so", term=1),
    ]

    after, steps = fold(*strays, msgspec.structs.replace(head("a7", "a6"), term=2), chain=chain)

    assert steps == [BlockCompleted(block("a7"), {})]
    assert after.term == 2


def test_a_new_bridge_starts_its_first_block_from_nothing() -> None:
    chain, _ = fold(msgspec.structs.replace(update("a6", reserve=1), term=1), chain=five())

    _, steps = fold(
        msgspec.structs.replace(update("a6", B, reserve=2), term=2),
        msgspec.structs.replace(head("a6", "a5", 1), term=2),
        chain=chain,
    )

    assert steps == [BlockCompleted(block("a6"), {B: (Sync(2, 2),)})]
