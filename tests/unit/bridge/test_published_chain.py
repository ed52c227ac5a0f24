from hypothesis import given
from hypothesis import strategies as st

from protocols.events import Initialize, Swap, Sync
from protocols.types import Block, PoolId
from streams.bridge.block import cut_short, differences
from streams.bridge.published_chain import PublishedChain, agree, common, replayed
from streams.kafka.records import ChainRecord, Gap, Head, Header, Reorg, Update

POOL, OTHER = PoolId("0xaa"), PoolId("0xbb")


def head(number: int, fork: str = "a") -> Head:
    return Head(Header(number, f"{fork}{number}", f"{fork}{number - 1}", number), 0)


def block(number: int, fork: str = "a") -> Block:
    return Block(number, f"{fork}{number}")


def test_memory_ends_at_the_last_head() -> None:
    memory = replayed([head(1), head(2), head(3)])

    assert (memory.last, memory.head, memory.at(2), memory.partial) == (3, block(3), block(2), False)


def test_a_reorg_forgets_what_it_takes_back() -> None:
    memory = replayed([head(1), head(2), head(3), Reorg(block(1)), Head(Header(2, "b2", "a1", 2), 0)])

    assert list(memory.descending()) == [block(2, "b"), block(1)]


def test_a_reorg_to_a_block_before_those_read_is_remembered() -> None:
    assert replayed([head(9), Reorg(block(4))]).head == block(4)


def test_after_a_gap_there_is_no_head_but_a_place_to_go_on() -> None:
    memory = replayed([head(1), head(2), Gap(3, 7, "lost")])

    assert (memory.last, memory.head) == (7, None)


def test_a_block_after_a_gap_is_the_head_again() -> None:
    assert replayed([head(1), Gap(2, 7, "lost"), head(8)]).head == block(8)


def test_a_head_that_follows_nothing_is_believed_when_the_next_follows_it() -> None:
    lost = [head(1), head(2), head(7)]

    assert (replayed(lost).head, replayed(lost).partial) == (block(2), True)
    assert list(replayed([*lost, head(8)]).descending()) == [block(8), block(7)]
    assert not replayed([*lost, head(8)]).partial


def test_updates_without_their_head_are_partial() -> None:
    update = Update(POOL, block(2), (Sync(1, 1),))

    assert replayed([head(1), update]).partial
    assert not replayed([head(1), update, head(2)]).partial
    assert not replayed([head(1), update, Reorg(block(1))]).partial
    assert replayed([head(1), None]).partial


def test_memory_keeps_the_newest_blocks_only() -> None:
    memory = PublishedChain(size=3)
    for number in range(10):
        memory.publish(block(number))

    assert list(memory.descending()) == [block(9), block(8), block(7)]


def test_partitions_agree_only_at_the_same_complete_block() -> None:
    assert agree([replayed([head(1)]), replayed([head(1)])])
    assert agree([PublishedChain(), PublishedChain()])
    assert not agree([replayed([head(1)]), replayed([head(1, "b")])])
    assert not agree([replayed([head(1)]), replayed([head(1), head(2)])])
    assert not agree([replayed([head(1)]), replayed([head(1), None])])
    assert not agree([replayed([Gap(1, 2, "")]), replayed([head(2)])])


chains = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@given(chains, st.data())
def test_what_partitions_cut_off_anywhere_have_in_common_is_the_highest_block_of_all(
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
    memories = [replayed(records[:end]) for end in last]

    ancestor = common(memories)

    assert ancestor is not None
    known = [set(memory.descending()) for memory in memories]
    assert ancestor.number == max(each.number for each in set.intersection(*known))


def test_initialize_is_on_no_wire_and_no_difference() -> None:
    read = {POOL: (Initialize(1, 0), Swap(2, 3, 4))}

    assert differences({POOL: (Swap(2, 3, 4),)}, read, [POOL]) == []


def test_a_difference_names_the_pool_and_both_sides() -> None:
    (found,) = differences({POOL: (Sync(1, 1), Sync(2, 2))}, {POOL: (Sync(1, 1),)}, [POOL, OTHER])

    assert str(found) == f"{POOL} at its event 1: feed Sync(reserve0=2, reserve1=2), node nothing"


def test_a_block_cut_by_silence_differs_only_where_it_is_no_beginning() -> None:
    read = {POOL: (Swap(1, 1, 1), Swap(2, 2, 2))}

    assert cut_short({POOL: (Swap(1, 1, 1),)}, read, [POOL]) == []
    assert len(cut_short({POOL: (Swap(2, 2, 2),)}, read, [POOL])) == 1
