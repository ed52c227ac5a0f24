"""Stored rows: they restore a partition, and a small change writes little."""

import hashlib

import msgspec
import pytest

from lab.fuzz.chain_model import metadata
from protocols.concentrated import Swap
from protocols.ticks import LiquidityChange, Tick, sqrt_ratio_at_tick
from streams.kafka.records import Listed, Snapshot, Update
from tables import rows
from tables.fold import fold_chain, fold_listing
from tables.live import Live
from tables.pool import Waiting
from tests.support.partition_store import FAR, MEMORY, NEAR, V3, V4, Store, block, state


@pytest.fixture
def stored() -> Store:
    made = Store(V3, V4)
    made.snapshot(V3, state(V3))
    made.snapshot(V4, state(V4, Tick(-60, 5, 5), Tick(60, 5, -5), liquidity=5))
    made.write()
    return made


def test_loading_restores_what_was_written(stored: Store) -> None:
    waiting = metadata(2, "v2")
    fold_listing(stored.changes, waiting.id, Listed(waiting, 0), stored.next_offset())
    for at in range(8):
        stored.block(NEAR if at % 2 else FAR, Swap(sqrt_ratio_at_tick(at), 5 * ((at + 1) // 2), at))
    stored.snapshot(V4, state(V4), number=99)
    stored.snapshot(metadata(3, "v3"), state(V3))
    fold_chain(stored.changes, Update(V3.id, block(99), (NEAR,)), stored.next_offset())
    stored.write()

    changes = stored.load()
    partition = changes.partition

    assert partition.pools == stored.partition.pools
    assert (partition.chain, partition.positions) == (stored.partition.chain, stored.partition.positions)
    assert partition.unlisted == stored.partition.unlisted
    assert partition.unlisted.keys() == {metadata(3, "v3").id}
    assert stored.invalidated == {}
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

    assert [key.rsplit("/", 1)[1] for key in stored.keys(f"t/{V4.id}")] == ["-1", "625"]
    assert stored.load().partition.pools == stored.partition.pools


def without_descriptions(schema: object) -> object:
    if isinstance(schema, dict):
        return {name: without_descriptions(value) for name, value in schema.items() if name != "description"}
    if isinstance(schema, list | tuple):
        return [without_descriptions(each) for each in schema]
    return schema


def test_the_layout_number_goes_up_with_every_change_of_the_rows() -> None:
    """Where this fails: raise LAYOUT, and record the digest of the new schema beside it."""
    of_pools = [rows.PoolRow, Listed, rows.RingRow, rows.TicksRow, Snapshot]
    row_types = [*of_pools, rows.UnlistedRow, rows.ChainRow, rows.Headers]
    schema = msgspec.json.encode(without_descriptions(msgspec.json.schema_components(row_types)), order="sorted")

    assert {rows.LAYOUT: hashlib.sha256(schema).hexdigest()[:16]} == {5: "e23a7687de53ec9c"}
