import random
from pathlib import Path

import pytest

from tables.durable.changelog import header_stamp
from tables.durable.chunks import CHUNK_BYTES, CHUNK_RECORDS, Chunk, Fetched, cut
from tables.durable.database import TOMBSTONE_S, Database, Stamp, Stamped, stamp_bytes
from tables.durable.rocksdb import DirectoryCorrupt, DirectoryTaken
from tests.support.kafka_records import record


def row(key: bytes, value: bytes | None, epoch: int, sequence: int) -> Stamped:
    return Stamped(key, value, Stamp(epoch, sequence))


def test_rows_are_read_back_without_their_stamps(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")

    database.write([row(b"b", b"2", 1, 1), row(b"a", b"1", 1, 1), row(b"ab", b"", 1, 2)], 7)

    assert database.get(b"a") == b"1"
    assert database.get(b"c") is None
    assert list(database.scan(b"")) == [(b"a", b"1"), (b"ab", b""), (b"b", b"2")]
    assert list(database.scan(b"a")) == [(b"a", b"1"), (b"ab", b"")]
    assert database.offset == 7


def test_rows_and_offset_survive_closing(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    database.write([row(b"a", b"1", 1, 1), row(b"dead", None, 3, 4)], 7)
    database.close()

    again = Database(tmp_path / "db")

    assert again.get(b"a") == b"1"
    assert again.stamp(b"dead") == Stamp(3, 4)
    assert again.offset == 7


def test_a_new_database_is_before_the_first_record(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")

    assert database.offset == -1
    assert database.position() is None
    assert list(database.scan(b"")) == []


def test_the_highest_stamp_wins_whatever_the_order(tmp_path: Path) -> None:
    rows = [row(b"k", b"%d" % n, epoch, n) for n, epoch in enumerate([1, 1, 2, 2, 5])] + [row(b"d", None, 2, 9)]
    rows += [row(b"d", b"old", 2, 8), row(b"d", b"older", 1, 99)]
    for seed in range(30):
        database = Database(tmp_path / f"db{seed}")
        shuffled = random.Random(seed).sample(rows, len(rows))
        for cut_at in (0, 3, 8):
            database.merge(shuffled[cut_at : cut_at + 5], cut_at)

        assert (database.get(b"k"), database.get(b"d")) == (b"4", None)


def test_a_deletion_is_not_undone_by_an_older_write(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    database.write([row(b"k", b"1", 6, 5)], 0)
    database.write([row(b"k", None, 6, 9)], 1)

    merge = database.merge([row(b"k", b"zombie", 5, 17)], 2)

    assert database.get(b"k") is None
    assert (merge.replaced, merge.to_rewrite) == (set(), {b"k"})


def test_a_tombstone_is_buried_after_some_hours(tmp_path: Path) -> None:
    now = [1000.0]
    database = Database(tmp_path / "db", clock=lambda: now[0])
    database.write([row(b"k", b"1", 6, 5), row(b"l", b"1", 6, 5)], 0)
    database.write([row(b"k", None, 6, 6)], 1)
    now[0] += TOMBSTONE_S / 2
    database.write([row(b"l", None, 6, 7)], 2)
    now[0] += TOMBSTONE_S / 2 + 1
    database.write([row(b"m", b"1", 6, 8)], 3)

    assert database.stamp(b"k") == Stamp(0, 0)
    assert database.stamp(b"l") == Stamp(6, 7)
    database.close()
    assert Database(tmp_path / "db").stamp(b"k") == Stamp(0, 0)


def test_a_merge_says_what_others_won_and_where_they_left_an_old_row_last(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    database.write([row(key, b"ours", 3, 1) for key in (b"a", b"b", b"c", b"same")], 9)
    theirs = [
        row(b"a", b"newer", 4, 1),
        row(b"b", b"older", 2, 1),
        row(b"c", b"older", 2, 1),
        row(b"same", b"ours", 3, 1),
    ]

    merge = database.merge(theirs, 20, {b"c": row(b"c", b"rewritten", 3, 2)})

    assert (merge.replaced, merge.to_rewrite) == ({b"a"}, {b"b"})
    assert dict(database.scan(b"")) == {b"a": b"newer", b"b": b"ours", b"c": b"rewritten", b"same": b"ours"}
    assert database.offset == 20


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    first = Database(tmp_path / "db")

    with pytest.raises(DirectoryTaken, match="open in another process"):
        Database(tmp_path / "db")

    first.close()
    Database(tmp_path / "db").close()


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*", "*.sst"])
def test_a_corrupt_directory_is_set_aside(tmp_path: Path, victim: str, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(tmp_path / "db")
    database.write([row(b"%d" % n, b"x" * 100, 1, 1) for n in range(1000)], 7)
    database.flush()
    database.close()
    for path in (tmp_path / "db").glob(victim):
        path.write_bytes(b"garbage")

    again = Database(tmp_path / "db")

    assert again.offset == -1
    assert len(list(tmp_path.glob("db.corrupt-*"))) == 1
    assert "set aside" in caplog.text


def test_a_damage_found_while_reading_is_mended_by_the_next_start(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    database.write([row(b"%04d" % n, random.Random(n).randbytes(1000), 1, 1) for n in range(1000)], 7)
    database.flush()
    database.close()
    table = next((tmp_path / "db").glob("*.sst"))
    content = bytearray(table.read_bytes())
    content[500_000:500_100] = bytes(100)
    table.write_bytes(content)
    database = Database(tmp_path / "db")

    with pytest.raises(DirectoryCorrupt, match="the next start sets it aside"):
        dict(database.scan(b""))
    database.close()

    assert Database(tmp_path / "db").offset == -1


def test_a_stamp_orders_by_epoch_then_sequence() -> None:
    stamps = [Stamp(1, 300), Stamp(2, 1), Stamp(2, 2), Stamp(300, 0)]

    assert sorted(map(stamp_bytes, stamps)) == [stamp_bytes(stamp) for stamp in stamps]
    assert header_stamp([("other", b""), ("stamp", stamp_bytes(stamps[1]))]) == stamps[1]
    assert header_stamp([("other", b"")]) is None


def test_chunks_are_bounded_in_records_and_bytes() -> None:
    many = [record("t", offset, b"v") for offset in range(CHUNK_RECORDS * 2 + 1)]
    large = [record("t", offset, b"v" * length) for offset, length in enumerate([10, CHUNK_BYTES * 3, 10, 10])]

    assert [len(part) for part in cut(many)] == [CHUNK_RECORDS, CHUNK_RECORDS, 1]
    assert [len(part) for part in cut(large)] == [1, 1, 2]
    assert [each.offset for part in cut(many) for each in part] == list(range(len(many)))
    assert list(cut([])) == []


def test_what_is_applied_already_is_cut_off() -> None:
    fetched = Fetched(Chunk("t", 0, [record("t", offset, b"v") for offset in (5, 6, 9)]), start=4, seek=1)

    assert [each.offset for each in fetched.after(4).records] == [5, 6, 9]
    assert [each.offset for each in fetched.after(6).records] == [6, 9]
    assert [each.offset for each in fetched.after(7).records] == [9]
    assert fetched.end == 10
