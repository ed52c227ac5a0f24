from hypothesis import given
from hypothesis import strategies as st

from protocols.concentrated import Initialize, Swap
from protocols.types import Block, PoolId
from protocols.v2 import Sync
from streams.bridge.block import find_mismatches, find_prefix_mismatches
from streams.bridge.published_chain import PublishedChain, common_ancestor, have_same_end, replay_records
from streams.kafka.records import ChainRecord, Gap, Head, Header, Reorg, Update

POOL, OTHER = PoolId("0xaa"), PoolId("0xbb")


def head(number: int, fork: str = "a") -> Head:
    return Head(Header(number, f"{fork}{number}", f"{fork}{number - 1}", number), 0)


def block(number: int, fork: str = "a") -> Block:
    return Block(number, f"{fork}{number}")


def test_the_published_chain_ends_at_the_last_head() -> None:
    published = replay_records([head(1), head(2), head(3)])

    assert (published.last, published.head, published.at(2), published.partial) == (3, block(3), block(2), False)


def test_a_reorg_forgets_the_blocks_after_the_ancestor() -> None:
    published = replay_records([head(1), head(2), head(3), Reorg(block(1)), Head(Header(2, "b2", "a1", 2), 0)])

    assert list(published.descending()) == [block(2, "b"), block(1)]


def test_a_reorg_to_a_block_before_those_read_is_remembered() -> None:
    assert replay_records([head(9), Reorg(block(4))]).head == block(4)


def test_after_a_gap_there_is_a_last_block_but_no_head() -> None:
    published = replay_records([head(1), head(2), Gap(3, 7, "lost")])

    assert (published.last, published.head) == (7, None)


def test_a_block_after_a_gap_is_the_head_again() -> None:
    assert replay_records([head(1), Gap(2, 7, "lost"), head(8)]).head == block(8)


def test_a_head_without_its_parent_counts_once_the_next_head_connects_to_it() -> None:
    lost = [head(1), head(2), head(7)]

    assert (replay_records(lost).head, replay_records(lost).partial) == (block(2), True)
    assert list(replay_records([*lost, head(8)]).descending()) == [block(8), block(7)]
    assert not replay_records([*lost, head(8)]).partial


def test_updates_without_their_head_are_partial() -> None:
    update = Update(POOL, block(2), (Sync(1, 1),))

    assert replay_records([head(1), update]).partial
    assert not replay_records([head(1), update, head(2)]).partial
    assert not replay_records([head(1), update, Reorg(block(1))]).partial
    assert replay_records([head(1), None]).partial


def test_only_the_newest_blocks_are_remembered() -> None:
    published = PublishedChain(size=3)
    for number in range(10):
        published.publish(block(number))

    assert list(published.descending()) == [block(9), block(8), block(7)]


def test_partitions_agree_only_at_the_same_complete_block() -> None:
    assert have_same_end([replay_records([head(1)]), replay_records([head(1)])])
    assert have_same_end([PublishedChain(), PublishedChain()])
    assert not have_same_end([replay_records([head(1)]), replay_records([head(1, "b")])])
    assert not have_same_end([replay_records([head(1)]), replay_records([head(1), head(2)])])
    assert not have_same_end([replay_records([head(1)]), replay_records([head(1), None])])
    assert not have_same_end([replay_records([Gap(1, 2, "")]), replay_records([head(2)])])


chains = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@given(chains, st.data())
def test_the_common_ancestor_of_partitions_cut_anywhere_is_their_highest_common_block(
    forks: list[int], data: st.DataObject
) -> None:
    """A crash leaves each partition with some beginning of the same records."""
    records: list[ChainRecord] = [head(0)]
    path = [block(0)]
    for step, depth in enumerate(forks, start=1):
        if depth and len(path) > depth:
            path = path[:-depth]
            records.append(Reorg(path[-1]))
        path.append(Block(path[-1].number + 1, f"{step}"))
        records.append(Head(Header(path[-1].number, path[-1].hash, path[-2].hash, 0), 0))
    last = data.draw(st.lists(st.integers(max(1, len(records) - 4), len(records)), min_size=1, max_size=4))
    chains_ = [replay_records(records[:end]) for end in last]

    ancestor = common_ancestor(chains_)

    assert ancestor is not None
    known = [set(chain.descending()) for chain in chains_]
    assert ancestor.number == max(each.number for each in set.intersection(*known))


def test_initialize_is_on_no_wire_and_no_mismatch() -> None:
    read = {POOL: (Initialize(1, 0), Swap(2, 3, 4))}

    assert find_mismatches({POOL: (Swap(2, 3, 4),)}, read, [POOL]) == []


def test_a_mismatch_names_the_pool_and_both_sides() -> None:
    (found,) = find_mismatches({POOL: (Sync(1, 1), Sync(2, 2))}, {POOL: (Sync(1, 1),)}, [POOL, OTHER])

    assert str(found) == f"{POOL} at its event 1: feed Sync(reserve0=2, reserve1=2), node nothing"


def test_a_block_cut_by_silence_mismatches_only_where_it_is_no_prefix() -> None:
    read = {POOL: (Swap(1, 1, 1), Swap(2, 2, 2))}

    assert find_prefix_mismatches({POOL: (Swap(1, 1, 1),)}, read, [POOL]) == []
    assert len(find_prefix_mismatches({POOL: (Swap(2, 2, 2),)}, read, [POOL])) == 1
