"""The pools of one partition, whatever the order, the reorgs and the crashes: never wrong, and right in the end."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import ChainItem, Plan, World, metadata
from lab.fuzz.model_run import MemoryRows, Run, lived
from protocols.events import Sync
from protocols.states import V2State
from protocols.types import Block, PoolMetadata
from streams.kafka.records import Gap, Head, Header, Listed, Reorg, Snapshot, Update
from tables.chain import Illegible
from tables.partition import Partition
from tables.pool import Live, Pool, Waiting, snapshot_request
from web import views

POOL = metadata(0, "v2")
OTHER = metadata(1, "v2")


def randoms() -> st.SearchStrategy[Random]:
    return st.integers(0, 2**64 - 1).map(Random)


@given(randoms())
def test_any_order_any_reorg_and_any_crash_is_never_wrong_and_ends_as_a_straight_replay(random: Random) -> None:
    lived(random)


@given(randoms())
def test_without_faults_a_live_pool_waits_only_for_a_reorg_below_its_base(random: Random) -> None:
    world = World(random, Plan(steps=20, faults=False))
    run = Run(world, random)

    run.to_the_end(crashes=0.0)

    assert {reason for reason in run.reasons if not reason.startswith(("reorg", "listed", "uninit", "unread"))} == set()


@given(randoms())
def test_all_chunks_folded_at_once_or_record_by_record_give_the_same_pools(random: Random) -> None:
    world = World(random, Plan(steps=12))
    whole, single = Run(world, Random(1)), Run(world, Random(2))

    for source in ("whitelist", "chain", "snapshots"):
        whole.chunk(source, 10_000)
        for _ in whole.topic(source):
            single.chunk(source, 1)

    assert whole.partition.pools == single.partition.pools
    assert whole.loaded().pools == single.loaded().pools == whole.partition.pools


class Told:
    """A partition that is told by hand; `b5` is block 5 of fork b."""

    def __init__(self, memory: int = 64) -> None:
        self.memory = memory
        self.rows = MemoryRows()
        self.offset = 0
        self.partition = Partition(memory)

    def list(self, *pools: PoolMetadata, from_block: int = 0) -> None:
        for pool in pools or (POOL,):
            self.partition.listed(pool.id, Listed(pool, from_block), self._offset())

    def unlist(self) -> None:
        self.partition.listed(POOL.id, None, self._offset())

    def chain(self, *records: ChainItem) -> None:
        for record in records:
            self.partition.followed(record, self._offset())

    def snapshot(self, name: str, reserve: int) -> None:
        self.partition.observed(Snapshot(POOL.id, block(name), V2State(reserve, reserve)), self._offset())

    def write(self, source: str = "chain", only: int | None = None) -> dict[bytes, bytes | None]:
        rows = self.partition.changes(source, self.offset)  # type: ignore[arg-type]
        self.rows.write(rows, only)
        return rows

    def restart(self) -> None:
        self.partition = Partition(self.memory)
        list(self.partition.load(self.rows.get, self.rows.scan))

    def _offset(self) -> int:
        self.offset += 1
        return self.offset

    @property
    def pool(self) -> Pool:
        return self.partition.pools[POOL.id]

    @property
    def served(self) -> int | None:
        """The reserve that a query is told; None while the pool waits."""
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
def told() -> Told:
    """Live since block 1, with a reserve of 20 since block 2 and 30 since block 3."""
    made = Told()
    made.list()
    made.chain(*head("a1", "a0"))
    made.snapshot("a1", 10)
    made.chain(*head("a2", "a1", POOL), *head("a3", "a2", POOL))
    made.write()
    return made


def test_a_reorg_alone_takes_back_what_is_served(told: Told) -> None:
    before = told.served

    told.chain(Reorg(block("a1")))

    assert (before, told.served) == (30, 10)
    assert told.pool.story.rewinds == 1


def test_what_happened_on_the_other_fork_counts_after_a_reorg(told: Told) -> None:
    told.chain(Reorg(block("a1")), *head("b2", "a1"), *head("b3", "b2", POOL))

    assert told.served == 35
    assert [told.served_at(number) for number in (1, 2, 3)] == [10, 10, 35]


def test_a_reorg_away_and_back_ends_where_it_began(told: Told) -> None:
    before = told.pool.life

    told.chain(Reorg(block("a1")), *head("b2", "a1", POOL))
    told.chain(Reorg(block("a1")), *head("a2", "a1", POOL), *head("a3", "a2", POOL))

    assert isinstance(before, Live)
    assert isinstance(told.pool.life, Live)
    assert (told.pool.life.recent, told.served) == (before.recent, 30)


def test_a_second_reorg_before_the_first_is_done_goes_deeper(told: Told) -> None:
    told.chain(Reorg(block("a2")), Reorg(block("a1")), *head("b2", "a1", POOL))

    assert told.served == 25


def test_a_reorg_below_the_base_makes_the_pool_wait_and_ask_from_the_ancestor_on() -> None:
    told = Told()
    told.list()
    told.chain(*head("a1", "a0"), *head("a2", "a1", POOL), *head("a3", "a2"))
    told.snapshot("a3", 20)

    told.chain(Reorg(block("a2")))

    assert isinstance(told.pool.life, Waiting)
    assert "below the base" in told.pool.life.reason
    assert snapshot_request(told.pool, told.partition.head).not_before == 2  # type: ignore[union-attr]


def test_a_reorg_writes_only_the_pools_that_it_concerns(told: Told) -> None:
    told.list(OTHER)
    told.partition.observed(Snapshot(OTHER.id, block("a1"), V2State(1, 1)), 1_000)
    told.write()

    told.chain(Reorg(block("a2")))

    assert [key for key in told.write() if key.startswith(b"0x")] == [POOL.id.encode()]


def test_a_pool_taken_off_the_list_leaves_no_rows(told: Told) -> None:
    told.snapshot("a9", 1)
    told.write("snapshots")

    told.unlist()
    told.write("whitelist")

    assert not [key for key in told.rows if key.startswith((b"0x", b"t/", b"h/"))]


def test_a_pool_listed_again_does_not_take_up_what_it_missed(told: Told) -> None:
    told.unlist()
    told.chain(*head("a4", "a3", POOL))
    told.list()

    told.snapshot("a2", 20)
    refused = told.served
    told.snapshot("a3", 30)

    assert (refused, told.served) == (None, 40)


def test_a_pool_listed_again_after_a_crash_in_its_removal_does_not_take_up_what_it_missed(told: Told) -> None:
    told.unlist()
    rows = told.write("whitelist", only=0)
    told.rows.write({key: value for key, value in rows.items() if key.startswith(b"0x")})
    told.restart()

    told.unlist()
    told.list()
    told.snapshot("a2", 20)

    assert told.served is None


def test_what_came_before_the_listing_counts_as_if_it_had_come_after() -> None:
    told = Told()
    told.chain(*head("a1", "a0"), *head("a2", "a1", POOL), *head("a3", "a2", POOL))
    told.snapshot("a2", 20)

    told.list()

    assert told.served == 30


def test_what_was_forgotten_before_a_listing_is_not_claimed_after_a_reorg() -> None:
    told = Told(memory=1)
    told.partition.chain = type(told.partition.chain)(4)
    told.chain(*head("a1", "a0"), *(each for at in range(2, 10) for each in head(f"a{at}", f"a{at - 1}", POOL)))
    told.chain(Reorg(block("a7")))

    told.list()

    assert isinstance(told.pool.life, Waiting)
    assert [each.block.number for each in told.pool.life.pending] == [6, 7]
    assert told.pool.life.since == 6


def test_snapshots_of_pools_that_are_never_listed_are_forgotten() -> None:
    told = Told(memory=1)
    told.partition.chain = type(told.partition.chain)(4)
    told.chain(*head("a1", "a0"))
    told.snapshot("a1", 10)

    told.chain(*(each for at in range(2, 10) for each in head(f"a{at}", f"a{at - 1}")))

    assert told.partition.strangers == {}


def test_a_snapshot_ahead_of_the_head_is_held_until_the_head_is_there() -> None:
    told = Told()
    told.list()
    told.chain(*head("a1", "a0"))
    told.snapshot("a3", 30)
    told.write("snapshots")
    told.restart()
    asked = snapshot_request(told.pool, told.partition.head)

    told.chain(*head("a2", "a1", POOL), *head("a3", "a2", POOL), *head("a4", "a3", POOL))

    assert (asked, told.pool.held, told.served) == (None, None, 40)


def test_a_held_snapshot_of_another_fork_is_refused_and_another_asked_for() -> None:
    told = Told()
    told.list()
    told.chain(*head("a1", "a0"))
    told.snapshot("b2", 25)

    told.chain(*head("a2", "a1", POOL))

    assert (told.served, told.pool.held, told.pool.story.refused) == (None, None, 1)
    assert snapshot_request(told.pool, told.partition.head) is not None


def test_an_illegible_update_of_a_pool_not_listed_yet_is_not_forgotten_at_its_listing() -> None:
    told = Told()
    told.chain(*head("a1", "a0"), Illegible(POOL.id), *head("a2", "a1", POOL)[1:], *head("a3", "a2", POOL))

    told.list()

    assert isinstance(told.pool.life, Waiting)
    assert told.pool.life.since == 3


def test_records_read_again_change_nothing(told: Told) -> None:
    chain = [Reorg(block("a1")), *head("b2", "a1", POOL), Gap(3, 4, "lost")]
    first = told.offset + 1
    told.chain(*chain)
    told.write()
    told.restart()
    before = (told.partition.chain, dict(told.partition.pools))

    for offset, record in enumerate([*head("a3", "a2", POOL), *chain], first - 2):
        told.partition.followed(record, offset)

    assert (told.partition.chain, told.partition.pools) == before


def test_records_read_again_do_not_take_the_position_back(told: Told) -> None:
    told.chain(*head("a4", "a3", POOL))
    told.write()

    told.partition.followed(head("a2", "a1")[0], 4)
    told.partition.changes("chain", 4)

    assert told.partition.positions["chain"] == told.offset


def test_a_chain_that_starts_again_below_a_gap_is_kept_from_there_on(told: Told) -> None:
    told.chain(Gap(4, 9, "lost"), *head("b3", "b2"), *head("b4", "b3", POOL))

    told.snapshot("b3", 33)

    assert told.served == 45


def test_a_pool_stored_ahead_of_its_partition_is_not_served_until_that_is_there_too(told: Told) -> None:
    again = told.offset + 1
    told.chain(Reorg(block("a1")), *head("b2", "a1", POOL))
    rows = told.write(only=0)
    told.rows.write({POOL.id.encode(): rows[POOL.id.encode()]})
    told.restart()
    torn = told.served

    told.partition.observed(Snapshot(POOL.id, block("a2"), V2State(20, 20)), 1_000)
    for offset, record in enumerate([Reorg(block("a1")), *head("b2", "a1", POOL)], again):
        told.partition.followed(record, offset)

    assert (torn, told.served) == (None, 25)


def test_a_pool_stored_ahead_and_listed_anew_hears_what_is_read_again(told: Told) -> None:
    again = told.offset + 1
    told.chain(*head("a4", "a3", POOL))
    rows = told.write(only=0)
    told.rows.write({POOL.id.encode(): rows[POOL.id.encode()]})
    told.restart()

    told.partition.listed(POOL.id, Listed(POOL, 2), 1_000)
    for offset, record in enumerate(head("a4", "a3", POOL), again):
        told.partition.followed(record, offset)
    told.partition.observed(Snapshot(POOL.id, block("a3"), V2State(30, 30)), 1_001)

    assert told.served == 40
