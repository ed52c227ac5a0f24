"""A crash at any row of a commit: the next load heals the partition, and no pool waits without need."""

from itertools import chain
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import metadata
from lab.fuzz.model_run import MemoryRows
from protocols.ticks import LiquidityChange, Tick
from protocols.types import PoolId
from streams.kafka.records import Head, Header, Listed
from tables.fold import fold_chain, fold_listing
from tables.live import Live, state_at
from tables.pool import Waiting, WaitingKind
from tables.rows import LAYOUT
from tests.support.partition_store import FAR, MEMORY, NEAR, V3, V4, Store, block, state


@pytest.fixture
def stored() -> Store:
    made = Store(V3, V4)
    made.snapshot(V3, state(V3))
    made.snapshot(V4, state(V4, Tick(-60, 5, 5), Tick(60, 5, -5), liquidity=5))
    made.write()
    return made


def test_another_snapshot_of_the_same_block_is_never_mixed_with_the_first(stored: Store) -> None:
    stored.snapshot(V4, state(V4, Tick(-60, 6, 6), Tick(60, 6, -6), liquidity=6))
    before = dict(stored.rows)
    written = stored.commit()

    for only in range(len(written) + 1):
        stored.rows = MemoryRows(before)
        stored.rows.write(written, only)
        life = stored.load().partition.pools[V4.id].life
        assert isinstance(life, Live)
        assert [tick.liquidity_gross for tick in life.ticks] in ([5, 5], [6, 6])


def test_orphan_rows_of_a_crash_are_deleted_at_the_next_write(stored: Store) -> None:
    of_v4 = [f"t/{V4.id}/9-aa-1/0".encode(), f"l/{V4.id}/aa".encode()]
    leftovers = [b"t/0x99/1-aa-1/0", b"h/0x99", b"l/0x99/aa", b"r/0x99/7", *of_v4]
    stored.rows |= dict.fromkeys(leftovers, b"{}")

    stored.changes = stored.load()
    stored.write()

    assert not stored.rows.keys() & set(leftovers)
    assert stored.load().partition.pools == stored.partition.pools


def test_a_missing_tick_row_invalidates_its_pool_and_no_other(stored: Store) -> None:
    del stored.rows[stored.keys(f"t/{V4.id}")[0].encode()]

    changes = stored.load()
    partition = changes.partition

    life = partition.pools[V4.id].life
    assert isinstance(life, Waiting)
    assert life.reason.kind is WaitingKind.STORED_ROWS
    assert isinstance(partition.pools[V3.id].life, Live)
    assert list(stored.invalidated) == [V4.id]
    stored.rows.write(changes.commit("chain", 1000))
    assert not stored.keys(f"t/{V4.id}")
    assert stored.load().partition.pools == partition.pools


@pytest.mark.parametrize(("blocks", "always_live"), [(1, True), (3, True), (9, False)])
def test_a_crash_at_any_row_is_healed_by_reading_again(blocks: int, always_live: bool) -> None:
    changes = [NEAR, FAR, LiquidityChange(-60, 600_000, 3), LiquidityChange(-60, 60, -1), FAR] * 3
    for only in range(20):
        stored = Store(V3)
        stored.snapshot(V3, state(V3))
        for change in changes[:5]:
            stored.block(change)
        stored.write()
        for change in changes[5 : 5 + blocks]:
            stored.block(change)
        truth = stored.partition.pools[V3.id].life

        stored.crash(only)
        for change in changes[5 : 5 + blocks]:
            stored.block(change)

        healed = stored.partition.pools[V3.id].life
        assert isinstance(truth, Live)
        if isinstance(healed, Live):
            assert (healed.price, healed.ticks) == (truth.price, truth.ticks)
        else:
            assert not always_live
            assert healed.reason.kind is WaitingKind.STORED_ROWS


def test_tick_rows_ahead_of_their_head_record_are_taken_back_to_its_base() -> None:
    stored = Store(V3)
    stored.snapshot(V3, state(V3))
    stored.write()
    stored.block(NEAR)
    stored.block(FAR)
    stored.block(LiquidityChange(-60, 600_000, 3))
    stored.write()
    for _ in range(MEMORY):
        stored.block()
    stored.block(LiquidityChange(0, 60, 1))
    written = stored.commit()
    ticks_written = [key for key in written if key.startswith(b"t/")]
    stored.rows.write({ticks_written[0]: written[ticks_written[0]]})

    changes = stored.load()
    partition = changes.partition

    life = partition.pools[V3.id].life
    assert isinstance(life, Live)
    assert (life.base.block, [each.block for each in life.recent]) == (block(1), [block(2), block(3), block(4)])
    assert tuple(life.ticks) == (Tick(-60, 8, 8), Tick(60, 5, -5), Tick(600_000, 10, 4), Tick(600_060, 7, -7))
    stored.rows.write(changes.commit("chain", 1000))
    assert stored.load().partition.pools == partition.pools


def test_tick_rows_folded_up_to_a_block_that_the_pool_does_not_remember_invalidate_it() -> None:
    """One chunk of many blocks: the base moves past all that the stored head remembers, and one word alone changes."""
    stored = Store(V3)
    stored.snapshot(V3, state(V3))
    stored.block(LiquidityChange(60, 120, 1))
    stored.write()
    for _ in range(2 * MEMORY):
        stored.block(LiquidityChange(60, 120, 1))
    written = stored.commit()
    ticks_written = [key for key in written if key.startswith(b"t/")]
    stored.rows.write({key: written[key] for key in ticks_written})

    life = stored.load().partition.pools[V3.id].life

    assert isinstance(life, Waiting)
    assert "does not remember" in life.reason.detail


@given(st.integers(0, 30), st.booleans())
def test_a_held_snapshot_survives_any_crash_while_it_is_adopted(only: int, caught: bool) -> None:
    stored = Store(V3)
    stored.snapshot(V3, state(V3), number=2)
    stored.write()
    stored.block()
    stored.write(only)

    changes = stored.load()
    partition = changes.partition
    if partition.head == 1:
        header = Header(2, block(2).hash, block(1).hash, 2)
        fold_chain(changes, Head(header, 0), 1000)

    assert isinstance(partition.pools[V3.id].life, Live)


def ranges(random: Random) -> tuple[int, int]:
    """Few positions over few words, so that a burn often empties a word."""
    lower, upper = sorted(random.sample([-2 * 15_360, -15_360, 0, 15_360, 2 * 15_360], 2))
    return lower + random.choice([0, 60]), upper + random.choice([120, 180])


def some_blocks(random: Random) -> list[tuple[LiquidityChange, ...]]:
    """Mints, and as many burns of whole positions."""
    positions: dict[tuple[int, int], int] = {}
    blocks = []
    for _ in range(random.randint(5, 30)):
        changes = []
        for _ in range(random.choice([0, 1, 1, 2])):
            if positions and random.random() < 0.5:
                range_ = random.choice(list(positions))
                changes.append(LiquidityChange(*range_, -positions.pop(range_)))
            else:
                range_ = ranges(random)
                delta = random.randint(1, 9)
                positions[range_] = positions.get(range_, 0) + delta
                changes.append(LiquidityChange(*range_, delta))
        blocks.append(tuple(changes))
    return blocks


def ticks_after(blocks: list[tuple[LiquidityChange, ...]]) -> list[tuple[int, int, int]]:
    gross: dict[int, int] = {}
    net: dict[int, int] = {}
    for change in chain.from_iterable(blocks):
        for tick, sign in ((change.tick_lower, 1), (change.tick_upper, -1)):
            gross[tick] = gross.get(tick, 0) + change.delta
            net[tick] = net.get(tick, 0) + sign * change.delta
    return [(tick, gross[tick], net[tick]) for tick in sorted(gross) if gross[tick]]


def check_live(store: Store, blocks: list[tuple[LiquidityChange, ...]], first: int) -> None:
    """Live, and equal to the chain at every block in memory; `blocks[0]` is block `first`."""
    life = store.partition.pools[V3.id].life
    assert isinstance(life, Live), life
    for number in range(life.base.block.number, store.last + 1):
        found = state_at(life, number)
        assert found is not None
        assert [(each.tick, each.liquidity_gross, each.liquidity_net) for each in found.ticks] == ticks_after(
            blocks[: number - first + 1]
        )


@given(st.integers(0, 2**64 - 1).map(Random))
def test_any_number_of_torn_writes_leaves_the_ticks_of_the_chain_and_no_pool_waits(random: Random) -> None:
    blocks = some_blocks(random)
    store = Store(V3)
    store.snapshot(V3, state(V3))
    store.write()
    first = store.last + 1
    while (done := store.last + 1 - first) < len(blocks):
        for changes in blocks[done : done + random.randint(1, MEMORY)]:
            store.block(*changes)
        if random.random() < 0.5:
            store.crash(random.randint(0, 12))
            assert isinstance(store.partition.pools[V3.id].life, Live), store.partition.pools[V3.id].life
        else:
            check_live(store, blocks, first)
            store.write()

    store.changes = store.load()

    check_live(store, blocks, first)


def empty_a_word(store: Store) -> None:
    """Up to where the burn that empties a word leaves the memory: the rows of two words are about to be written."""
    store.block(LiquidityChange(60, 120, 5), LiquidityChange(600_000, 600_060, 7))
    for _ in range(MEMORY):
        store.block(LiquidityChange(60, 120, 1))
    store.write()
    store.block(LiquidityChange(60, 120, 1), LiquidityChange(600_000, 600_060, -7))
    store.write()
    for _ in range(MEMORY):
        store.block(LiquidityChange(60, 120, 1))


@pytest.mark.parametrize("rows_written", [1, 2])
def test_a_word_that_a_torn_write_left_unemptied_is_emptied_by_the_next(rows_written: int) -> None:
    store = Store(V3)
    store.snapshot(V3, state(V3))
    store.write()
    empty_a_word(store)

    store.crash(rows_written)
    store.write()
    store.changes = store.load()

    assert store.invalidated == {}
    life = store.partition.pools[V3.id].life
    assert isinstance(life, Live)
    assert tuple(life.ticks) == (Tick(60, 10, 10), Tick(120, 10, -10))


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("second", range(5))
def test_a_second_torn_write_after_an_emptied_word_leaves_no_tick_that_the_chain_does_not_have(
    first: int, second: int
) -> None:
    store = Store(V3)
    store.snapshot(V3, state(V3))
    store.write()
    empty_a_word(store)

    store.crash(first)
    for _ in range(MEMORY):
        store.block(LiquidityChange(60, 120, 1))
    store.crash(second)

    life = store.partition.pools[V3.id].life
    assert isinstance(life, Live)
    assert 600_000 not in {each.tick for each in life.ticks}


def with_layout(row: bytes, layout: int | None, listed: Listed | None = None) -> bytes:
    """The row as a version of another layout has written it; up to layout 4 a pool's row had its listing."""
    fields = msgspec.json.decode(row)
    fields.pop("layout")
    if listed and (layout or 0) < LAYOUT:
        fields |= {"listed": msgspec.to_builtins(listed)}
    return msgspec.json.encode(fields if layout is None else fields | {"layout": layout})


@pytest.mark.parametrize("layout", [None, LAYOUT - 1, LAYOUT + 1])
def test_a_partition_of_another_layout_keeps_its_list_and_every_pool_asks_for_a_snapshot(
    stored: Store, layout: int | None
) -> None:
    for key in list(stored.rows):
        if key.startswith((b"0x", b"~chain", b"u/")):
            pool = stored.partition.pools.get(PoolId(key.decode()))
            stored.rows[key] = with_layout(stored.rows[key], layout, pool.listed if pool else None)
        if key.startswith((b"l/", b"r/")) and (layout or 0) < LAYOUT:
            del stored.rows[key]

    stored.changes = stored.load()

    assert stored.forgotten is not None
    assert "layout" in stored.forgotten
    assert stored.partition.pools.keys() == {V3.id, V4.id}
    for pool in stored.partition.pools.values():
        assert isinstance(pool.life, Waiting)
        assert pool.life.reason.kind is WaitingKind.STORED_ROWS
    stored.write()
    stored.block()
    stored.snapshot(V3, state(V3))
    assert isinstance(stored.partition.pools[V3.id].life, Live)
    assert stored.load().partition.pools.keys() == {V3.id, V4.id}
    assert stored.forgotten is None


@pytest.mark.parametrize("value", [b"", b"{}", b"null", b"\xff", b'{"layout":5}', b"[]", b"[" * 2_000])
@pytest.mark.parametrize("prefix", [b"0x", b"l/", b"r/", b"t/", b"h/", b"u/", b"c/", b"~chain"])
def test_no_row_whatever_it_holds_ends_a_load(stored: Store, prefix: bytes, value: bytes) -> None:
    stored.snapshot(V4, state(V4), number=99)
    stored.block(NEAR, pool=metadata(3, "v3"))
    stored.block(NEAR)
    stored.write()
    key = max(key for key in stored.rows if key.startswith(prefix))
    stored.rows[key] = value

    stored.changes = stored.load()
    stored.write()
    before = stored.partition.pools
    stored.changes = stored.load()

    assert (stored.partition.pools, stored.invalidated, stored.forgotten) == (before, {}, None)


def test_a_pool_whose_row_names_no_listing_is_forgotten_until_the_list_is_repeated(stored: Store) -> None:
    stored.rows[V3.id.encode()] = b"{}"
    stored.rows[stored.keys(f"l/{V3.id}")[0].encode()] = b"{}"

    stored.changes = stored.load()
    stored.write()
    fold_listing(stored.changes, V3.id, Listed(V3, 0), stored.next_offset())

    assert isinstance(stored.partition.pools[V3.id].life, Waiting)
    assert isinstance(stored.partition.pools[V4.id].life, Live)
