"""Rings of rows: what a write adds never touches a row that counts, and slots are used again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.model_run import MemoryRows
from protocols.ticks import LiquidityChange
from streams.kafka.records import Listed
from tables import rows
from tables.fold import fold_listing
from tables.live import Live, advance_base, append_block, drop_after
from tables.pool import Waiting, WaitingKind
from tables.ring import added
from tests.support.partition_store import FAR, MEMORY, NEAR, V3, Store, block, state


class Item:
    pass


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=40))
def test_what_counts_is_never_overwritten_and_slots_are_used_again(steps: list[tuple[int, int, int]]) -> None:
    items: list[Item] = []
    slots: tuple[int, ...] = ()
    stored: dict[int, list[Item]] = {}
    for first, last, more in steps:
        counted = dict(zip(items, slots, strict=True))
        new = items[first : max(first, len(items) - last)] + [Item() for _ in range(more)]
        kept, slot, after = added(items, new, slots)

        if kept < len(new):
            assert slot not in counted.values()
            stored[slot] = new[kept:]
        assert [item in stored[at] for item, at in zip(new, after, strict=True)] == [True] * len(new)
        items, slots = new, after

    assert set(stored) <= set(range(len(stored)))


@pytest.fixture
def store() -> Store:
    made = Store(V3)
    made.snapshot(V3, state(V3))
    made.write()
    return made


def ring(store: Store) -> list[str]:
    return [key.rsplit("/", 1)[1] for key in store.keys("r/")]


def test_a_busy_pool_writes_its_new_blocks_alone_and_deletes_nothing(store: Store) -> None:
    for _ in range(10 * MEMORY):
        store.block(NEAR)

        written = store.write()

        assert [key[:1] for key in written if V3.id.encode() in key] in ([b"r", b"0"], [b"r", b"t", b"t", b"0"])
        assert None not in written.values()
    assert len(ring(store)) == MEMORY + 1
    assert store.load().partition.pools == store.partition.pools


def test_blocks_of_one_chunk_share_a_row(store: Store) -> None:
    for _ in range(MEMORY):
        store.block(NEAR)
    store.write()
    store.block(FAR)
    store.write()

    assert ring(store) == ["0", "1"]
    assert store.load().partition.pools == store.partition.pools


def test_a_pool_that_goes_off_the_list_leaves_no_row(store: Store) -> None:
    for _ in range(3 * MEMORY):
        store.block(NEAR)
        store.write()

    store.unlist(V3)
    store.write()

    assert [key for key in store.rows if V3.id.encode() in key and not key.startswith(b"u/")] == []


@pytest.mark.parametrize("damage", ["missing", "of another block", "without its block", "of another hash"])
def test_a_row_of_the_ring_that_does_not_hold_what_the_head_record_says_makes_its_pool_wait(
    store: Store, damage: str
) -> None:
    for _ in range(3):
        store.block(NEAR)
        store.write()
    key = rows.ring_key(V3.id, 1)
    row = rows.decode_ring(store.rows[key])
    match damage:
        case "missing":
            del store.rows[key]
        case "of another block":
            store.rows[key] = store.rows[rows.ring_key(V3.id, 0)]
        case "without its block":
            store.rows[key] = msgspec.json.encode(rows.RingRow(row.previous, ()))
        case "of another hash":
            other = msgspec.structs.replace(row.blocks[0], hash="0x" + "ee" * 32)
            store.rows[key] = msgspec.json.encode(rows.RingRow(row.previous, (other,)))

    life = store.load().partition.pools[V3.id].life

    assert isinstance(life, Waiting)
    assert life.reason.kind is WaitingKind.STORED_ROWS
    assert life.reason.detail.startswith("slot 1 does not hold block 3 0x")


def test_rows_that_name_each_other_in_a_circle_end_a_load_with_a_pool_that_waits(store: Store) -> None:
    for _ in range(2):
        store.block(NEAR)
        store.write()
    first, second = (rows.decode_ring(store.rows[rows.ring_key(V3.id, slot)]) for slot in (0, 1))
    assert second.previous is not None
    circle = rows.RingRow(rows.Link(1, 3, block(3).hash[:18]), first.blocks)
    store.rows[rows.ring_key(V3.id, 0)] = msgspec.json.encode(circle)

    assert isinstance(store.load().partition.pools[V3.id].life, Waiting)


def test_a_torn_write_over_a_reorg_leaves_the_memory_of_the_fork_that_the_head_record_has(store: Store) -> None:
    for _ in range(MEMORY):
        store.block(NEAR)
        store.write()
    before = store.partition.pools[V3.id]
    rewound = drop_after(before.life, 3) if isinstance(before.life, Live) else None
    assert rewound is not None
    for number in (4, 5, 6):
        rewound = advance_base(append_block(rewound, block(number + 100), (FAR,)), number - MEMORY)
    after = msgspec.structs.replace(before, life=rewound)
    kept_rows = MemoryRows(store.rows)
    store.changes.put(V3.id, after)
    written = store.commit()

    for only in range(len(written) + 1):
        store.rows = MemoryRows(kept_rows)
        store.rows.write(written, only)
        assert store.load().partition.pools[V3.id] in (before, after)
        assert store.invalidated == {}


def test_a_smaller_memory_reads_what_a_larger_one_wrote(store: Store) -> None:
    for _ in range(MEMORY):
        store.block(LiquidityChange(-60, 60, 1))
        store.write()

    loaded = store.load(memory=1)

    assert loaded.partition.pools == store.partition.pools


@pytest.mark.parametrize("change", [{"fee": 500}, {"tick_spacing": 10}])
def test_a_torn_write_of_another_listing_leaves_the_pool_under_one_of_the_two(
    store: Store, change: dict[str, int]
) -> None:
    """Another description alone keeps the pool's state; another spacing makes it another pool."""
    store.block(NEAR)
    store.write()
    before = store.partition.pools[V3.id]
    kept_rows = MemoryRows(store.rows)
    fold_listing(store.changes, V3.id, Listed(msgspec.structs.replace(V3, **change), 0), store.next_offset())
    after = store.partition.pools[V3.id]
    written = store.commit()

    for only in range(len(written) + 1):
        store.rows = MemoryRows(kept_rows)
        store.rows.write(written, only)
        assert store.load().partition.pools[V3.id] in (before, after)
        assert store.invalidated == {}
    assert isinstance(after.life, Live) == ("fee" in change)
    assert len(store.keys(f"l/{V3.id}")) == 1
