"""The pools of one partition in any order of records, with reorgs and crashes: never wrong, and right in the end."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import ChainItem, Plan, World, metadata
from lab.fuzz.model_run import MemoryRows, Run, live_through
from protocols.types import Block, PoolMetadata
from protocols.v2 import Sync, V2State
from streams.kafka.records import Gap, Head, Header, Listed, Reorg, Snapshot, Update
from tables.chain import CanonicalChain, UndecodableUpdate
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.healing import load
from tables.live import Live
from tables.partition import Changes, Partition, Source
from tables.pool import Pool, Waiting, WaitingKind
from tables.processing.requests import snapshot_request
from tables.views import memory as views

POOL = metadata(0, "v2")
OTHER = metadata(1, "v2")


def randoms() -> st.SearchStrategy[Random]:
    return st.integers(0, 2**64 - 1).map(Random)


@given(randoms())
def test_any_order_any_reorg_and_any_crash_is_never_wrong_and_ends_as_a_straight_replay(random: Random) -> None:
    live_through(random)


@given(randoms())
def test_without_faults_a_live_pool_waits_only_for_a_reorg_below_its_base(random: Random) -> None:
    world = World(random, Plan(steps=20, faults=False))
    run = Run(world, random)

    run.to_the_end(crashes=0.0)

    allowed = {WaitingKind.REORG, WaitingKind.LISTED, WaitingKind.UNINITIALIZED, WaitingKind.UNREADABLE}
    assert run.reasons.keys() <= allowed


@given(randoms())
def test_all_chunks_folded_at_once_or_record_by_record_give_the_same_pools(random: Random) -> None:
    world = World(random, Plan(steps=12))
    whole, single = Run(world, Random(1)), Run(world, Random(2))

    for source in ("whitelist", "chain", "snapshots"):
        whole.chunk(source, 10_000)
        for _ in whole.topic(source):
            single.chunk(source, 1)

    assert whole.partition.pools == single.partition.pools
    assert whole.load().partition.pools == single.load().partition.pools == whole.partition.pools


class Hand:
    """Folds records by hand into one partition; `b5` is block 5 of fork b."""

    def __init__(self, memory: int = 64) -> None:
        self.memory = memory
        self.rows = MemoryRows()
        self.offset = 0
        self.changes = Changes(Partition(memory))

    @property
    def partition(self) -> Partition:
        return self.changes.partition

    def list(self, *pools: PoolMetadata, from_block: int = 0) -> None:
        for pool in pools or (POOL,):
            fold_listing(self.changes, pool.id, Listed(pool, from_block), self._offset())

    def unlist(self) -> None:
        fold_listing(self.changes, POOL.id, None, self._offset())

    def chain(self, *records: ChainItem) -> None:
        for record in records:
            fold_chain(self.changes, record, self._offset())

    def chain_again(self, first: int, *records: ChainItem) -> None:
        """Records that Kafka delivers again, from that offset on."""
        for offset, record in enumerate(records, first):
            fold_chain(self.changes, record, offset)

    def snapshot(self, name: str, reserve: int, offset: int | None = None, pool: PoolMetadata = POOL) -> None:
        record = Snapshot(pool.id, block(name), V2State(reserve, reserve))
        fold_snapshot(self.changes, record, self._offset() if offset is None else offset)

    def write(self, source: Source = "chain", only: int | None = None) -> dict[bytes, bytes | None]:
        rows = self.changes.commit(source, self.offset)
        self.changes = Changes(self.partition)
        self.rows.write(rows, only)
        return rows

    def restart(self) -> None:
        self.changes = load(self.memory, self.rows.get, self.rows.scan).changes

    def _offset(self) -> int:
        self.offset += 1
        return self.offset

    @property
    def pool(self) -> Pool:
        return self.partition.pools[POOL.id]

    @property
    def served(self) -> int | None:
        """The reserve that a query is answered with; None while the pool waits."""
        return self.served_at(None)

    def served_at(self, number: int | None) -> int | None:
        found = views.at(self.partition, self.pool, number)
        return found.state.price.reserve0 if found and isinstance(found.state.price, V2State) else None


def block(name: str) -> Block:
    return Block(int(name[1:]), f"0x{name.encode().hex():0>64}")


def head(name: str, parent: str, *pools: PoolMetadata) -> list[ChainItem]:
    """The block, in which the reserves of these pools became ten times its number, and 5 more on fork b."""
    at = block(name)
    reserve = at.number * 10 + (5 if name.startswith("b") else 0)
    updates = [Update(pool.id, at, (Sync(reserve, reserve),)) for pool in pools]
    return [*updates, Head(Header(at.number, at.hash, block(parent).hash, at.number), len(pools))]


@pytest.fixture
def hand() -> Hand:
    """Live since block 1, with a reserve of 20 since block 2 and 30 since block 3."""
    made = Hand()
    made.list()
    made.chain(*head("a1", "a0"))
    made.snapshot("a1", 10)
    made.chain(*head("a2", "a1", POOL), *head("a3", "a2", POOL))
    made.write()
    return made


def test_a_reorg_alone_rewinds_the_served_state(hand: Hand) -> None:
    before = hand.served

    hand.chain(Reorg(block("a1")))

    assert (before, hand.served) == (30, 10)
    assert hand.pool.story.rewinds == 1


def test_events_of_the_other_fork_count_after_a_reorg(hand: Hand) -> None:
    hand.chain(Reorg(block("a1")), *head("b2", "a1"), *head("b3", "b2", POOL))

    assert hand.served == 35
    assert [hand.served_at(number) for number in (1, 2, 3)] == [10, 10, 35]


def test_a_reorg_away_and_back_ends_where_it_began(hand: Hand) -> None:
    before = hand.pool.life

    hand.chain(Reorg(block("a1")), *head("b2", "a1", POOL))
    hand.chain(Reorg(block("a1")), *head("a2", "a1", POOL), *head("a3", "a2", POOL))

    assert isinstance(before, Live)
    assert isinstance(hand.pool.life, Live)
    assert (hand.pool.life.recent, hand.served) == (before.recent, 30)


def test_a_second_reorg_before_the_first_is_done_goes_deeper(hand: Hand) -> None:
    hand.chain(Reorg(block("a2")), Reorg(block("a1")), *head("b2", "a1", POOL))

    assert hand.served == 25


def test_a_reorg_below_the_base_makes_the_pool_wait_and_ask_from_the_ancestor_on() -> None:
    hand = Hand()
    hand.list()
    hand.chain(*head("a1", "a0"), *head("a2", "a1", POOL), *head("a3", "a2"))
    hand.snapshot("a3", 20)

    hand.chain(Reorg(block("a2")))

    assert isinstance(hand.pool.life, Waiting)
    assert hand.pool.life.reason.kind is WaitingKind.REORG
    assert "below the base" in hand.pool.life.reason.detail
    assert snapshot_request(hand.pool, hand.partition.head).not_before == 2  # type: ignore[union-attr]


def test_a_reorg_writes_only_the_pools_that_it_concerns(hand: Hand) -> None:
    hand.list(OTHER)
    hand.snapshot("a1", 1, 1_000, OTHER)
    hand.write()

    hand.chain(Reorg(block("a2")))

    assert [key for key in hand.write() if key.startswith(b"0x")] == [POOL.id.encode()]


def test_a_pool_taken_off_the_list_leaves_no_rows(hand: Hand) -> None:
    hand.snapshot("a9", 1)
    hand.write("snapshots")

    hand.unlist()
    hand.write("whitelist")

    assert not [key for key in hand.rows if key.startswith((b"0x", b"t/", b"h/"))]


def test_a_pool_listed_again_rejects_snapshots_from_before_its_missing_events(hand: Hand) -> None:
    hand.unlist()
    hand.chain(*head("a4", "a3", POOL))
    hand.list()

    hand.snapshot("a2", 20)
    rejected = hand.served
    hand.snapshot("a3", 30)

    assert (rejected, hand.served) == (None, 40)


def test_a_pool_listed_again_after_a_crash_in_its_removal_rejects_them_too(hand: Hand) -> None:
    hand.unlist()
    rows = hand.write("whitelist", only=0)
    hand.rows.write({key: value for key, value in rows.items() if key.startswith(b"0x")})
    hand.restart()

    hand.unlist()
    hand.list()
    hand.snapshot("a2", 20)

    assert hand.served is None


def test_records_before_the_listing_count_as_if_they_had_come_after_it() -> None:
    hand = Hand()
    hand.chain(*head("a1", "a0"), *head("a2", "a1", POOL), *head("a3", "a2", POOL))
    hand.snapshot("a2", 20)

    hand.list()

    assert hand.served == 30


def test_blocks_forgotten_before_a_listing_are_not_taken_as_kept_after_a_reorg() -> None:
    hand = Hand(memory=1)
    hand.partition.chain = CanonicalChain(4)
    hand.chain(*head("a1", "a0"), *(each for at in range(2, 10) for each in head(f"a{at}", f"a{at - 1}", POOL)))
    hand.chain(Reorg(block("a7")))

    hand.list()

    assert isinstance(hand.pool.life, Waiting)
    assert [each.block.number for each in hand.pool.life.pending] == [6, 7]
    assert hand.pool.life.since == 6


def test_snapshots_of_pools_that_are_never_listed_are_forgotten() -> None:
    hand = Hand(memory=1)
    hand.partition.chain = CanonicalChain(4)
    hand.chain(*head("a1", "a0"))
    hand.snapshot("a1", 10)

    hand.chain(*(each for at in range(2, 10) for each in head(f"a{at}", f"a{at - 1}")))

    assert hand.partition.unlisted == {}


def test_a_snapshot_ahead_of_the_head_is_held_until_the_head_is_there() -> None:
    hand = Hand()
    hand.list()
    hand.chain(*head("a1", "a0"))
    hand.snapshot("a3", 30)
    hand.write("snapshots")
    hand.restart()
    asked = snapshot_request(hand.pool, hand.partition.head)

    hand.chain(*head("a2", "a1", POOL), *head("a3", "a2", POOL), *head("a4", "a3", POOL))

    assert (asked, hand.pool.held, hand.served) == (None, None, 40)


def test_a_held_snapshot_of_another_fork_is_rejected_and_another_requested() -> None:
    hand = Hand()
    hand.list()
    hand.chain(*head("a1", "a0"))
    hand.snapshot("b2", 25)

    hand.chain(*head("a2", "a1", POOL))

    assert (hand.served, hand.pool.held, hand.pool.story.rejected) == (None, None, 1)
    assert snapshot_request(hand.pool, hand.partition.head) is not None


def test_an_undecodable_update_of_an_unlisted_pool_is_not_forgotten_at_its_listing() -> None:
    hand = Hand()
    hand.chain(*head("a1", "a0"), UndecodableUpdate(POOL.id), *head("a2", "a1", POOL)[1:], *head("a3", "a2", POOL))

    hand.list()

    assert isinstance(hand.pool.life, Waiting)
    assert hand.pool.life.since == 3


def test_records_read_again_change_nothing(hand: Hand) -> None:
    chain = [Reorg(block("a1")), *head("b2", "a1", POOL), Gap(3, 4, "lost")]
    first = hand.offset + 1
    hand.chain(*chain)
    hand.write()
    hand.restart()
    before = (hand.partition.chain, dict(hand.partition.pools))

    hand.chain_again(first - 2, *head("a3", "a2", POOL), *chain)

    assert (hand.partition.chain, hand.partition.pools) == before


def test_records_read_again_do_not_take_the_position_back(hand: Hand) -> None:
    hand.chain(*head("a4", "a3", POOL))
    hand.write()

    fold_chain(hand.changes, head("a2", "a1")[0], 4)
    hand.changes.commit("chain", 4)

    assert hand.partition.positions["chain"] == hand.offset


def test_a_chain_that_starts_again_below_a_gap_is_kept_from_there_on(hand: Hand) -> None:
    hand.chain(Gap(4, 9, "lost"), *head("b3", "b2"), *head("b4", "b3", POOL))

    hand.snapshot("b3", 33)

    assert hand.served == 45


def test_a_pool_stored_ahead_of_its_partition_is_not_served_until_that_is_there_too(hand: Hand) -> None:
    again = hand.offset + 1
    hand.chain(Reorg(block("a1")), *head("b2", "a1", POOL))
    rows = hand.write(only=0)
    hand.rows.write(rows, only=list(rows).index(POOL.id.encode()) + 1)
    hand.restart()
    torn = hand.served

    hand.snapshot("a2", 20, 1_000)
    hand.chain_again(again, Reorg(block("a1")), *head("b2", "a1", POOL))

    assert (torn, hand.served) == (None, 25)


def test_a_pool_stored_ahead_and_listed_anew_applies_the_records_read_again(hand: Hand) -> None:
    again = hand.offset + 1
    hand.chain(*head("a4", "a3", POOL))
    rows = hand.write(only=0)
    hand.rows.write({POOL.id.encode(): rows[POOL.id.encode()]})
    hand.restart()

    fold_listing(hand.changes, POOL.id, Listed(POOL, 2), 1_000)
    hand.chain_again(again, *head("a4", "a3", POOL))
    hand.snapshot("a3", 30, 1_001)

    assert hand.served == 40
