"""Stored rows: they restore a partition, a small change writes little, and a crash at any row is healed."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import metadata
from lab.fuzz.model_run import MemoryRows
from protocols.events import Event, LiquidityChange, Swap
from protocols.states import State, Tick, V3State, V4State
from protocols.ticks import sqrt_ratio_at_tick
from protocols.types import Block, PoolMetadata
from streams.kafka.records import Head, Header, Listed, Snapshot, Update
from tables import rows
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.healing import load
from tables.live import Live
from tables.partition import Changes, Partition
from tables.pool import Waiting, WaitingKind

MEMORY = 4
V3, V4 = metadata(0, "v3"), metadata(1, "v4")
NEAR, FAR = LiquidityChange(-60, 60, 5), LiquidityChange(600_000, 600_060, 7)


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


def state(pool: PoolMetadata, *ticks: Tick, liquidity: int = 0) -> State:
    if pool.protocol == "v4":
        return V4State(1 << 96, 0, liquidity, ticks, lp_fee=3000, protocol_fee=7)
    return V3State(1 << 96, 0, liquidity, ticks)


class Store:
    """A partition and its rows; every block is one of the single fork there is."""

    def __init__(self, *pools: PoolMetadata) -> None:
        self.rows = MemoryRows()
        self.offsets = count()
        self.changes = Changes(Partition(MEMORY))
        self.last = 0
        for pool in pools:
            fold_listing(self.changes, pool.id, Listed(pool, 0), next(self.offsets))
        self.block()

    def block(self, *events: Event, pool: PoolMetadata = V3) -> None:
        self.last += 1
        if events:
            fold_chain(self.changes, Update(pool.id, block(self.last), events), next(self.offsets))
        header = Header(self.last, block(self.last).hash, block(self.last - 1).hash, self.last)
        fold_chain(self.changes, Head(header, 1 if events else 0), next(self.offsets))

    def snapshot(self, pool: PoolMetadata, state: State, number: int | None = None) -> None:
        at = block(self.last if number is None else number)
        fold_snapshot(self.changes, Snapshot(pool.id, at, state), next(self.offsets))

    @property
    def partition(self) -> Partition:
        return self.changes.partition

    def write(self, only: int | None = None) -> rows.Rows:
        written = self.commit()
        self.rows.write(written, only)
        return written

    def commit(self) -> rows.Rows:
        written = self.changes.commit("chain", next(self.offsets))
        self.changes = Changes(self.partition)
        return written

    def load(self) -> Changes:
        changes, self.invalidated = load(MEMORY, self.rows.get, self.rows.scan)
        return changes

    def keys(self, prefix: str) -> list[str]:
        return [key.decode() for key in self.rows if key.startswith(prefix.encode())]


@pytest.fixture
def stored() -> Store:
    made = Store(V3, V4)
    made.snapshot(V3, state(V3))
    made.snapshot(V4, state(V4, Tick(-60, 5, 5), Tick(60, 5, -5), liquidity=5))
    made.write()
    return made


def test_loading_restores_what_was_written(stored: Store) -> None:
    waiting = metadata(2, "v2")
    fold_listing(stored.changes, waiting.id, Listed(waiting, 0), next(stored.offsets))
    for at in range(8):
        stored.block(NEAR if at % 2 else FAR, Swap(sqrt_ratio_at_tick(at), 5 * ((at + 1) // 2), at))
    stored.snapshot(V4, state(V4), number=99)
    stored.snapshot(metadata(3, "v3"), state(V3))
    fold_chain(stored.changes, Update(V3.id, block(99), (NEAR,)), next(stored.offsets))
    stored.write()

    changes = stored.load()
    partition = changes.partition

    assert partition.pools == stored.partition.pools
    assert (partition.chain, partition.positions) == (stored.partition.chain, stored.partition.positions)
    assert partition.unlisted == stored.partition.unlisted
    assert partition.unlisted.keys() == {metadata(3, "v3").id}
    assert stored.invalidated == []
    assert {type(pool.life) for pool in partition.pools.values()} == {Live, Waiting}


def test_a_load_writes_nothing_but_the_position(stored: Store) -> None:
    changes = stored.load()

    assert list(changes.commit("chain", 1000)) == [rows.CHAIN]


@pytest.fixture
def crowded() -> Store:
    """10,000 ticks in 40 words."""
    ticks = [Tick((at - 5000) * 60, 1 << 100, (1 << 100) * (1 if at % 2 else -1)) for at in range(1, 10_001)]
    made = Store(V3)
    made.snapshot(V3, state(V3, *ticks, liquidity=0))
    made.write()
    return made


def test_a_block_on_a_pool_of_ten_thousand_ticks_writes_kilobytes(crowded: Store) -> None:
    whole = sum(map(len, (value for key, value in crowded.rows.items() if key.startswith(b"t/"))))
    sizes = []

    for _ in range(3 * MEMORY):
        crowded.block(LiquidityChange(-60, 60, 1 << 90))
        sizes.append(sum(len(key) + len(value or b"") for key, value in crowded.write().items()))

    assert isinstance(crowded.partition.pools[V3.id].life, Live)
    assert whole > 500_000
    assert max(sizes[: MEMORY - 1]) < 8_000
    assert max(sizes) < 60_000


def test_only_the_parts_that_a_forgotten_change_touches_are_written_again(crowded: Store) -> None:
    crowded.block(LiquidityChange(-60, 60, 1))
    crowded.write()
    for _ in range(MEMORY):
        crowded.block()
    crowded.write()
    crowded.block(LiquidityChange(-120, 120, 1))

    written = crowded.write()

    assert sorted(key.decode().rsplit("/", 1)[1] for key in written if key.startswith(b"t/")) == ["-1", "0"]


def test_ticks_of_an_earlier_snapshot_are_deleted(stored: Store) -> None:
    stored.block()
    stored.snapshot(V4, state(V4, Tick(-120, 6, 6), Tick(600_000, 6, -6), liquidity=6))
    stored.write()

    assert [key.rsplit("/", 1)[1] for key in stored.keys(f"t/{V4.id}")] == ["-1", "39"]
    assert stored.load().partition.pools == stored.partition.pools


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
    leftovers = [b"t/0x99/1-aa-1/0", b"h/0x99", f"t/{V4.id}/9-aa-1/0".encode(), b"c/000000000001/aa"]
    header = msgspec.json.encode(Header(1, "0xaa", "0xbb", 0))
    stored.rows |= {key: header if key.startswith(b"c/") else b"{}" for key in leftovers}

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
    assert [pool for pool, _ in stored.invalidated] == [V4.id]
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
        last, offset = stored.last, next(stored.offsets)
        for change in changes[5 : 5 + blocks]:
            stored.block(change)
        truth = stored.partition.pools[V3.id].life
        stored.write(only)

        stored.changes, stored.last, stored.offsets = stored.load(), last, count(offset + 1)
        for change in changes[5 : 5 + blocks]:
            stored.block(change)

        healed = stored.partition.pools[V3.id].life
        assert isinstance(truth, Live)
        if isinstance(healed, Live):
            assert (healed.price, healed.ticks) == (truth.price, truth.ticks)
        else:
            assert not always_live
            assert healed.reason.kind is WaitingKind.STORED_ROWS


def test_tick_rows_ahead_of_their_head_are_caught_up() -> None:
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
    assert (life.base.block, life.recent) == (block(4), ())
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
