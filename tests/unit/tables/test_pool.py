"""A pool's life: what snapshots, blocks and reorgs make of it."""

from collections.abc import Callable

import msgspec
import pytest

from lab.fuzz.chain_model import metadata
from protocols.concentrated import Initialize, Price, ProtocolFeeUpdate, Swap
from protocols.dex import Fees
from protocols.registry import Event, State
from protocols.ticks import LiquidityChange, Tick, sqrt_ratio_at_tick
from protocols.types import Block, PoolMetadata
from protocols.v2 import Sync, V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.kafka.records import UNREAD, Header, Listed, Snapshot, Unreadable
from tables.chain import CanonicalChain
from tables.fees import KnownFees, fees_at
from tables.live import Live, state_at
from tables.pool import (
    PENDING_BLOCKS,
    Pool,
    Reason,
    Waiting,
    WaitingKind,
    apply,
    invalidate,
    new_pool,
    relist,
    rewind,
    start,
    with_life,
)
from tables.processing.requests import snapshot_request
from tables.snapshots import AUDIT_AFTER_BLOCKS, SHORTEST_DELAY_BLOCKS, release, take, unreadable

V2, V3, V4 = metadata(0, "v2"), metadata(1, "v3"), metadata(2, "v4")
MEMORY = 4
LISTED, GAP = Reason(WaitingKind.LISTED), Reason(WaitingKind.GAP)


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


def chain(head: int, first: int = 1) -> CanonicalChain:
    heads = (Header(at, block(at).hash, block(at - 1).hash, at) for at in range(first, head + 1))
    return CanonicalChain(MEMORY, tuple(heads))


def waiting(pool: PoolMetadata = V2, since: int = 1) -> Pool:
    return new_pool(Listed(pool, 0), since)


def applied(pool: Pool, *syncs: tuple[int, int]) -> Pool:
    """Blocks by number, and both reserves after each."""
    for number, reserve in syncs:
        pool = apply(pool, block(number), (Sync(reserve, reserve),), MEMORY)
    return pool


def seen(pool: Pool, number: int, reserve: int, head: int) -> Pool:
    return take(pool, Snapshot(V2.id, block(number), V2State(reserve, reserve)), chain(head))


def live(*syncs: tuple[int, int]) -> Pool:
    """By a snapshot of block 1 with a reserve of 10."""
    return applied(seen(waiting(), 1, 10, head=1), *syncs)


def reserves(pool: Pool, *numbers: int) -> list[int | None]:
    assert isinstance(pool.life, Live)
    states = [state_at(pool.life, number) for number in numbers]
    return [each.price.reserve0 if each and isinstance(each.price, V2State) else None for each in states]


def test_a_snapshot_and_the_blocks_after_it_are_the_state() -> None:
    pool = seen(applied(waiting(), (1, 10), (2, 20), (3, 30)), 2, 20, head=3)

    assert reserves(pool, 1, 2, 3, 99) == [None, 20, 30, 30]
    assert isinstance(pool.life, Live)
    assert (pool.life.reference, pool.life.verified) == (block(2), block(2))
    assert (pool.story.applied, pool.story.snapshots) == (1, 1)


def test_repeated_blocks_change_nothing() -> None:
    once = live((2, 20), (3, 30))

    again = applied(once, (1, 11), (2, 21), (3, 31))

    assert again.life == once.life
    assert again.story.gated == 3


def test_repeated_blocks_of_a_waiting_pool_are_kept_once() -> None:
    once = applied(waiting(), (2, 20), (3, 30))

    assert applied(once, (2, 20), (3, 30)).life == once.life


def test_events_before_the_first_kept_block_are_not_kept() -> None:
    assert applied(waiting(since=5), (3, 30)).life == Waiting(LISTED, 5)


def test_a_snapshot_older_than_the_kept_blocks_is_rejected_and_the_one_just_before_is_not() -> None:
    pool = applied(waiting(since=5), (6, 60))

    older = seen(pool, 3, 30, head=6)

    assert older.life == pool.life
    assert older.story.last_rejection == "of block 3, events are kept since block 5 only"
    assert reserves(seen(pool, 4, 40, head=6), 6) == [60]


def test_a_snapshot_of_another_fork_is_rejected() -> None:
    other = Snapshot(V2.id, Block(3, "0x" + "bb" * 32), V2State(1, 1))

    pool = take(waiting(), other, chain(5))

    assert isinstance(pool.life, Waiting)
    assert pool.story.rejected == 1


def test_a_snapshot_of_a_block_that_is_not_in_memory_is_rejected() -> None:
    pool = take(waiting(), Snapshot(V2.id, block(1), V2State(1, 1)), chain(9, first=6))

    assert pool.story.last_rejection == f"block 1 is not in memory, the snapshot's is {block(1).hash}"


@pytest.mark.parametrize("head", [None, 2])
def test_a_snapshot_ahead_of_the_head_is_held_and_nothing_else_asked_for(head: int | None) -> None:
    known = chain(head) if head else CanonicalChain(MEMORY)

    pool = take(waiting(), Snapshot(V2.id, block(3), V2State(30, 30)), known)

    assert (isinstance(pool.life, Waiting), snapshot_request(pool, head)) == (True, None)
    assert release(pool, known) is pool
    assert reserves(release(pool, chain(3)), 3) == [30]
    assert release(pool, chain(3)).held is None


def test_the_oldest_of_too_many_pending_blocks_is_dropped() -> None:
    pool = applied(waiting(), *((at, at) for at in range(1, PENDING_BLOCKS + 11)))

    assert isinstance(pool.life, Waiting)
    assert (len(pool.life.pending), pool.life.since) == (PENDING_BLOCKS, 11)
    assert snapshot_request(pool, 300).not_before == 10  # type: ignore[union-attr]


def test_only_so_many_blocks_are_remembered() -> None:
    pool = live(*((at, at * 10) for at in range(2, 20)))

    assert isinstance(pool.life, Live)
    assert (pool.life.base.block, len(pool.life.recent)) == (block(15), MEMORY)
    assert reserves(pool, 14, 15, 16, 19) == [None, 150, 160, 190]


def test_a_reorg_drops_the_blocks_after_the_ancestor() -> None:
    pool = rewind(live((2, 20), (4, 40)), block(3))

    assert reserves(pool, 1, 2, 3) == [10, 20, 20]
    assert (pool.story.rewinds, pool.story.last_event_block) == (1, 2)


def test_a_reorg_after_the_last_event_does_not_change_the_pool() -> None:
    pool = live((2, 20))

    assert rewind(pool, block(2)) is pool


def test_a_reorg_of_a_waiting_pool_drops_the_blocks_after_the_ancestor_and_keeps_their_successors() -> None:
    pool = applied(invalidate(live((2, 20)), 6, GAP), (8, 80), (9, 90))

    kept, earlier = rewind(pool, block(8)).life, rewind(pool, block(3)).life

    assert isinstance(kept, Waiting)
    assert ([each.block.number for each in kept.pending], kept.since) == ([8], 7)
    assert earlier == Waiting(GAP, 4)


def test_a_reorg_never_moves_the_first_kept_block_before_the_listing() -> None:
    pool = new_pool(Listed(V2, 10), 12)

    assert rewind(pool, block(5)).life == Waiting(LISTED, 10)


def test_no_events_before_the_first_block_of_the_partition_are_kept() -> None:
    assert start(waiting(since=1), 7).life == Waiting(LISTED, 7)
    assert start(waiting(since=9), 7).life == Waiting(LISTED, 7)
    assert start(new_pool(Listed(V2, 8), 9), 7).life == Waiting(LISTED, 8)


def test_a_snapshot_of_a_live_pool_verifies_it() -> None:
    pool = seen(live((2, 20), (3, 30)), 2, 20, head=3)

    assert isinstance(pool.life, Live)
    assert (pool.life.verified, pool.life.reference, pool.story.audits) == (block(2), block(1), 1)
    assert pool.life.audit_from is None


def test_an_older_audit_does_not_take_back_a_newer_one() -> None:
    pool = seen(seen(live((2, 20), (3, 30)), 3, 30, head=3), 2, 20, head=3)

    assert isinstance(pool.life, Live)
    assert pool.life.verified == block(3)


def test_where_an_audit_differs_the_chain_is_right_and_later_blocks_stay() -> None:
    pool = seen(live((2, 20), (4, 40)), 3, 25, head=4)

    assert reserves(pool, 2, 3, 4) == [None, 25, 40]
    assert pool.story.divergences == 1
    assert pool.story.last_divergence == "block 3: reserve0: held 20, chain 25; reserve1: held 20, chain 25"


def diverged(times: int) -> Pool:
    """A pool whose reserve is never what its last Sync said; each audit is of the head, two blocks after the last."""
    pool = live()
    for number in range(2, 2 + 2 * times, 2):
        pool = seen(applied(pool, (number, 100)), number + 1, 7, head=number + 1)
    return pool


def test_one_divergence_leaves_the_pool_live_with_the_state_of_the_chain() -> None:
    assert reserves(diverged(1), 3) == [7]


def test_a_second_divergence_in_a_row_makes_the_pool_wait_and_ask_again_later() -> None:
    pool = diverged(2)

    assert isinstance(pool.life, Waiting)
    assert pool.life.reason.kind is WaitingKind.DOES_NOT_FOLLOW_ITS_LOGS
    assert pool.life.reason.detail.startswith(
        "2 audits in a row differ, the last at block 5: reserve0: held 100, chain 7"
    )
    assert pool.life.ask_from == 5 + SHORTEST_DELAY_BLOCKS
    assert snapshot_request(pool, pool.life.ask_from - 1) is None
    request = snapshot_request(pool, pool.life.ask_from)
    assert request is not None
    assert request.not_before == pool.life.ask_from


def test_a_pool_that_does_not_follow_its_logs_takes_no_snapshot_before_it_asks() -> None:
    pool = diverged(2)

    early = take(pool, Snapshot(V2.id, block(6), V2State(7, 7)), chain(9))

    assert (early.life, early.story.rejected) == (pool.life, 1)


@pytest.mark.parametrize("event", [lambda pool: invalidate(pool, 9, GAP), lambda pool: rewind(pool, block(4))])
def test_gaps_and_reorgs_do_not_shorten_the_delay_after_divergences(event: Callable[[Pool], Pool]) -> None:
    pool = diverged(2)

    life = event(pool).life

    assert isinstance(life, Waiting)
    assert (life.reason, life.ask_from) == (pool.life.reason, pool.life.ask_from)  # type: ignore[union-attr]


def test_the_delay_grows_with_each_further_divergence() -> None:
    pool = diverged(2)
    delays = []
    for _ in range(8):
        assert isinstance(pool.life, Waiting)
        at = pool.life.ask_from
        pool = seen(pool, at, 7, head=at)
        assert isinstance(pool.life, Live)
        pool = seen(applied(pool, (at + 1, 100)), at + 2, 7, head=at + 2)
        assert isinstance(pool.life, Waiting)
        delays.append(pool.life.ask_from - at - 2)

    assert delays == [128, 512, 2048, 8192, 8192, 8192, 8192, 8192]


def test_an_equal_audit_after_an_event_ends_a_row_of_divergences_and_one_without_an_event_does_not() -> None:
    pool = diverged(1)

    quiet = seen(pool, 4, 7, head=4)
    right = seen(applied(pool, (4, 40)), 4, 40, head=4)

    assert (quiet.story.divergences_in_row, right.story.divergences_in_row) == (1, 0)


def test_a_reorg_ends_a_row_of_divergences() -> None:
    pool = rewind(applied(diverged(1), (4, 40)), block(3))

    again = seen(applied(pool, (4, 100)), 5, 7, head=5)

    assert isinstance(again.life, Live)


def test_an_audit_that_comes_too_late_is_asked_for_again_later() -> None:
    pool = live(*((at, at * 10) for at in range(2, 20)))
    assert isinstance(pool.life, Live)
    assert snapshot_request(pool, 19) is not None

    late = take(pool, Snapshot(V2.id, block(3), V2State(1, 1)), CanonicalChain(64, chain(19).heads))

    assert snapshot_request(late, 19 + 63) is None
    assert snapshot_request(late, 19 + 64) is not None


def test_an_audit_of_a_block_before_the_base_is_rejected() -> None:
    pool = live(*((at, at * 10) for at in range(2, 20)))

    rejected = take(pool, Snapshot(V2.id, block(3), V2State(1, 1)), CanonicalChain(64, chain(19).heads))

    assert reserves(rejected, 15, 19) == reserves(pool, 15, 19)
    assert rejected.story.rejected == 1


def test_a_pool_is_audited_once_some_blocks_after_it_became_live() -> None:
    pool = live()
    due = 1 + AUDIT_AFTER_BLOCKS

    wanted = snapshot_request(pool, due)

    assert snapshot_request(pool, due - 1) is None
    assert wanted is not None
    assert (wanted.reason, wanted.not_before) == ("audit", due)
    assert snapshot_request(seen(pool, due, 10, head=due), due + 100) is None


@pytest.mark.parametrize(
    "state",
    [V3State(1 << 96, 0, 1, ()), V3State(1 << 96, 5, 0, ()), V3State(1 << 96, 0, 0, (Tick(1, 1, 1),)), V2State(1, 1)],
)
def test_an_inconsistent_snapshot_is_rejected_by_a_waiting_and_by_a_live_pool(state: State) -> None:
    good = Snapshot(V3.id, block(1), V3State(1 << 96, 0, 0, ()))
    bad = Snapshot(V3.id, block(1), state)
    alive = take(waiting(V3), good, chain(1))

    for pool in (waiting(V3), alive):
        rejected = take(pool, bad, chain(1))

        assert rejected.life == pool.life
        assert (rejected.story.rejected, rejected.story.inconsistent) == (1, 1)


def test_an_update_that_cannot_follow_makes_the_pool_wait_from_the_next_block_on() -> None:
    pool = take(waiting(V3), Snapshot(V3.id, block(1), V3State(1 << 96, 0, 0, ())), chain(1))

    pool = apply(pool, block(2), (LiquidityChange(-60, 60, -1),), MEMORY)

    assert isinstance(pool.life, Waiting)
    assert pool.life.reason.kind is WaitingKind.INVARIANT
    assert pool.life.reason.detail.startswith("block 2: tick -60 cannot go")
    assert pool.life.since == 3


def test_pending_blocks_that_cannot_follow_the_snapshot_ask_for_another() -> None:
    pool = apply(waiting(V3), block(2), (LiquidityChange(-60, 60, -1),), MEMORY)

    pool = take(pool, Snapshot(V3.id, block(1), V3State(1 << 96, 0, 0, ())), chain(2))

    assert isinstance(pool.life, Waiting)
    assert (pool.life.since, pool.life.pending) == (3, ())
    assert snapshot_request(pool, 2).not_before == 2  # type: ignore[union-attr]


def test_a_pool_without_a_price_waits_until_it_has_one() -> None:
    none_yet = Snapshot(V3.id, block(1), V3State(0, 0, 0, ()))
    events: tuple[Event, ...] = (
        Initialize(1 << 96, 0),
        LiquidityChange(-60, 60, 5),
        Swap(sqrt_ratio_at_tick(1), 5, 1),
    )

    before = take(waiting(V3), none_yet, chain(1))
    after = take(apply(before, block(2), events, MEMORY), none_yet, chain(2))

    assert before.life == Waiting(Reason(WaitingKind.UNINITIALIZED), 1)
    assert isinstance(after.life, Live)
    assert tuple(after.life.ticks) == (Tick(-60, 5, 5), Tick(60, 5, -5))


def test_a_pool_whose_first_price_is_reorganised_away_waits_for_the_next_one() -> None:
    none_yet = Snapshot(V3.id, block(1), V3State(0, 0, 0, ()))
    pool = take(apply(waiting(V3), block(2), (Initialize(1 << 96, 0),), MEMORY), none_yet, chain(2))
    assert isinstance(pool.life, Live)

    rewound = rewind(pool, block(1))
    again = take(apply(rewound, block(2), (Initialize(1 << 95, -13864),), MEMORY), none_yet, chain(2))

    assert rewound.life == Waiting(Reason(WaitingKind.UNINITIALIZED), 2)
    assert isinstance(again.life, Live)
    assert again.life.price == Price(1 << 95, -13864, 0)


def test_ticks_deleted_and_made_again_come_back_as_they_were() -> None:
    ticks = (Tick(-60, 5, 5), Tick(60, 5, -5))
    pool = take(waiting(V3), Snapshot(V3.id, block(1), V3State(1 << 96, 0, 5, ticks)), chain(1))
    assert isinstance(pool.life, Live)
    burnt = apply(pool, block(2), (LiquidityChange(-60, 60, -5),), MEMORY)
    again = apply(burnt, block(3), (LiquidityChange(-60, 60, 9),), MEMORY)
    assert isinstance(again.life, Live)

    assert tuple(again.life.ticks) == (Tick(-60, 9, 9), Tick(60, 9, -9))
    for ancestor, left in ((2, ()), (1, ticks)):
        life = rewind(again, block(ancestor)).life
        assert isinstance(life, Live)
        assert (tuple(life.ticks), life.price) == (left, (burnt if ancestor == 2 else pool).life.price)  # type: ignore[union-attr]


def test_a_reorg_of_a_pool_whose_memory_contradicts_its_base_makes_it_wait() -> None:
    pool = take(waiting(V3), Snapshot(V3.id, block(1), V3State(1 << 96, 0, 0, ())), chain(1))
    for number, delta in ((2, 5), (3, -5), (4, 7)):
        pool = apply(pool, block(number), (LiquidityChange(-60, 60, delta),), MEMORY)
    assert isinstance(pool.life, Live)
    torn = msgspec.structs.replace(pool, life=msgspec.structs.replace(pool.life, recent=pool.life.recent[1:]))

    life = rewind(torn, block(3)).life

    assert isinstance(life, Waiting)
    assert (life.reason.kind, life.since) == (WaitingKind.INVARIANT, 4)


def test_fees_are_as_of_the_newest_snapshot_and_read_again_after_its_block_is_reorganised_away() -> None:
    def fees(fee: int) -> State:
        return V4State(1 << 96, 0, 0, (), lp_fee=fee, protocol_fee=1)

    pool = take(waiting(V4), Snapshot(V4.id, block(2), fees(500)), chain(3))
    newer = take(pool, Snapshot(V4.id, block(3), fees(900)), chain(3))
    older = take(newer, Snapshot(V4.id, block(2), fees(500)), chain(3))
    gone = rewind(older, block(2))

    assert isinstance(older.life, Live)
    assert fees_at(older.life.fees, 3) == Fees(900, 1, 3)
    assert fees_at(older.life.fees, 2) == Fees(500, 1, 2)
    assert fees_at(older.life.fees, 1) is None
    assert isinstance(gone.life, Live)
    assert fees_at(gone.life.fees, 3) == Fees(500, 1, 2)
    assert snapshot_request(gone, 3) is not None


def test_a_change_of_the_protocol_fee_counts_from_its_block_on_and_goes_with_it() -> None:
    state = V4State(sqrt_price_x96=2**96, tick=0, liquidity=0, ticks=(), lp_fee=500, protocol_fee=1)
    pool = take(waiting(V4), Snapshot(V4.id, block(2), state), chain(3))

    changed = apply(pool, block(3), (ProtocolFeeUpdate(7), ProtocolFeeUpdate(9)), 64)

    assert isinstance(changed.life, Live)
    assert fees_at(changed.life.fees, 3) == Fees(500, 9, 2)
    assert fees_at(changed.life.fees, 2) == Fees(500, 1, 2)
    gone = rewind(changed, block(2))
    assert isinstance(gone.life, Live)
    assert fees_at(gone.life.fees, 3) == Fees(500, 1, 2)


def test_fees_of_an_orphaned_block_are_not_known_where_no_other_read_is() -> None:
    state = V4State(1 << 96, 0, 0, (), lp_fee=500, protocol_fee=1)
    pool = take(waiting(V4), Snapshot(V4.id, block(1), state), chain(3))
    assert isinstance(pool.life, Live)
    read_late = msgspec.structs.replace(pool.life, fees=(KnownFees(Fees(500, 1, 3), block(3)),))

    life = rewind(with_life(pool, read_late), block(2)).life

    assert isinstance(life, Live)
    assert (life.fees, life.audit_from) == ((), 3)


def test_reads_of_the_fees_are_kept_as_long_as_a_block_in_memory_needs_them() -> None:
    state = V4State(1 << 96, 0, 0, (), lp_fee=500, protocol_fee=1)
    pool = take(waiting(V4), Snapshot(V4.id, block(1), state), chain(1))

    for number in range(2, 30):
        pool = take(pool, Snapshot(V4.id, block(number), state), chain(number))

    assert isinstance(pool.life, Live)
    assert [each.since.number for each in pool.life.fees] == [25, 26, 27, 28, 29]


def test_a_repeated_listing_is_a_no_op_and_a_new_one_starts_anew() -> None:
    pool = live((2, 20))
    told_again = relist(pool, pool.listed, head=2)
    renamed = relist(pool, Listed(msgspec.structs.replace(V2, token0=V2.token1, fee=5), 0), head=2)
    anew = relist(pool, Listed(V2, 9), head=2)

    assert told_again == pool
    assert (renamed.life, renamed.listed.pool.fee) == (pool.life, 5)
    assert anew == Pool(Listed(V2, 9), Waiting(LISTED, 9))


def test_a_pool_whose_logs_are_not_read_waits_and_asks_for_nothing_until_it_is_listed_from_a_block() -> None:
    pool = live((2, 20))

    unread = relist(pool, Listed(V2, UNREAD), head=2)
    read = relist(unread, Listed(V2, 9), head=7)

    assert unread.life == Waiting(LISTED, UNREAD)
    assert snapshot_request(unread, 7) is None
    assert read.life == Waiting(LISTED, 9)
    assert snapshot_request(read, 9) is not None


def test_why_a_pool_cannot_be_read_is_its_reason_and_a_live_pool_stays_live() -> None:
    record = Unreadable(V2.id, block(1), "no contract")

    assert unreadable(waiting(), record).life == Waiting(Reason(WaitingKind.UNREADABLE, "no contract"), 1)
    assert unreadable(live(), record).life == live().life
