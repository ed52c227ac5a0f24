"""The Parquet files of a replay: names, types, order, compression and metadata."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lab.fuzz.chain_model import metadata
from protocols.concentrated import Price
from protocols.ticks import Tick
from protocols.types import Block
from protocols.v2 import Sync, V2State
from replay import parquet
from replay.history import EventRow, HistoryRows, StateRow, TickRow
from replay.run import Replayed

V2, V3 = metadata(0, "v2").id, metadata(1, "v3").id
OPTIONS = parquet.Options("ethereum", 1, "0.1.0", first_block=5, hex_strings=False)
LAST = Block(9, "0x" + "99" * 32)
BEYOND = 2**112 - 1


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


def replayed(*histories: HistoryRows) -> Replayed:
    return Replayed(LAST, [], list(histories), 0, "ab" * 32)


def written(dataset: str, directory: Path, result: Replayed, options: parquet.Options = OPTIONS) -> pq.ParquetFile:
    path = directory / parquet.file_names("ethereum", 5, 9)[dataset]
    parquet.write(dataset, path, parquet.rows_of(dataset, result), result, options)
    assert [each.name for each in directory.iterdir()] == [path.name]
    return pq.ParquetFile(path)


def test_states_are_sorted_and_carry_exact_integers_beside_rounded_ones(tmp_path: Path) -> None:
    first = HistoryRows(
        [StateRow(block(7), V3, Price(2**96, -5, 2**64)), StateRow(block(6), V3, Price(1, 0, 0))], [], []
    )
    second = HistoryRows([StateRow(block(6), V2, V2State(BEYOND, 0))], [], [])

    file = written("pool_states", tmp_path, replayed(first, second))

    rows = file.read().to_pylist()
    assert [(row["block_number"], row["pool"]) for row in rows] == [
        (6, bytes.fromhex(V2[2:])),
        (6, bytes.fromhex(V3[2:])),
        (7, bytes.fromhex(V3[2:])),
    ]
    assert (rows[0]["reserve0_string"], rows[0]["reserve0_f64"]) == (str(BEYOND), float(BEYOND))
    assert (rows[0]["tick"], rows[0]["sqrt_price_x96_string"]) == (None, None)
    assert (rows[2]["tick"], rows[2]["liquidity_string"], rows[2]["reserve0_string"]) == (-5, str(2**64), None)
    assert {row["chain_id"] for row in rows} == {1}
    assert rows[2]["block_hash"] == bytes.fromhex(block(7).hash[2:])


def test_files_are_zstd_in_row_groups_of_at_most_100_000_with_metadata(tmp_path: Path) -> None:
    rows = [TickRow(block(6), V3, Tick(number, 1, 1)) for number in range(100_001)]

    file = written("pool_ticks", tmp_path, replayed(HistoryRows([], rows, [])))

    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [100_000, 1]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    assert {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()} == {
        "chain": "ethereum",
        "chain_id": "1",
        "first_block_number": "5",
        "block_number": "9",
        "block_hash": LAST.hash,
        "digest": "ab" * 32,
        "pool_state_arena": "0.1.0",
    }


def test_with_hex_ids_and_hashes_are_strings(tmp_path: Path) -> None:
    events = [EventRow(block(6), V2, 0, Sync(1, 2))]

    file = written("pool_events", tmp_path, replayed(HistoryRows([], [], events)), OPTIONS._replace(hex_strings=True))

    (row,) = file.read().to_pylist()
    assert (row["pool"], row["block_hash"]) == (V2, block(6).hash)
    assert (row["event"], row["event_index"], row["reserve1_string"]) == ("sync", 0, "2")


def test_files_are_named_as_users_of_cryo_expect() -> None:
    assert parquet.file_names("ethereum", 5, 9)["pool_states"] == "ethereum__pool_states__5_to_9.parquet"


def test_a_file_that_exists_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "there.parquet"
    path.touch()

    with pytest.raises(parquet.FileExists, match="--overwrite"):
        parquet.expect_writable([path], overwrite=False)
    parquet.expect_writable([path], overwrite=True)
