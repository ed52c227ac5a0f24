"""One partition's RocksDB: rows with their stamps, the position, and up to where the changelog is in it.

A stored value is a stamp and the row. Of two values of one key the one with the higher stamp wins, wherever they meet:
in recovery, on a standby, in records that another worker wrote to the changelog in between. A deleted row leaves its
stamp as a tombstone for some hours, so that an older value that arrives later (from a worker that was frozen while its
partitions went to another) cannot revive it. Every change is one WriteBatch, the changelog offset included, so rows and
offset never disagree.
"""

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import rocksdict

from tables.durable.rocksdb import open_directory, read_error

OWN = b"!"
"""Keys that begin with it are not the application's."""
POSITION = b"!position"
OFFSET = b"!offset"
TOMBSTONE = b"!dead/"

TOMBSTONE_S = 6 * 60 * 60.0
"""How long an older write can still turn up: as long as the changelog is kept from compaction."""


_stamp = struct.Struct(">IQ")
STAMP_BYTES = _stamp.size


class Stamp(NamedTuple):
    """Who wrote a row, and when."""

    epoch: int
    """Of the writer, raised whenever the partition is taken over."""
    sequence: int
    """Of the writer's chunks."""

    def next(self) -> "Stamp":
        return Stamp(self.epoch, self.sequence + 1)


ZERO = Stamp(0, 0)


class Position(msgspec.Struct, frozen=True):
    """Up to where a partition's rows are folded: the row that is written last."""

    offsets: dict[str, int]
    """Source topic to the offset of the next record."""
    writer: str
    """Tells two writers of one epoch apart."""


class Stamped(NamedTuple):
    key: bytes
    value: bytes | None
    """None is a deletion."""
    stamp: Stamp


class Merge(NamedTuple):
    replaced: set[bytes]
    """Keys whose stored row was replaced by one of another writer."""
    to_rewrite: set[bytes]
    """Keys whose last record in the changelog is not the row that is stored."""


class Database:
    """Implements Rows."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises DirectoryTaken. What cannot be opened is set aside: its rows are all in the changelog."""
        self.path = path
        self._clock = clock
        self._db = open_directory(path)
        self._tombstones: dict[bytes, tuple[Stamp, float]] = dict(self._stored_tombstones())

    def close(self) -> None:
        self._db.close()

    def flush(self) -> None:
        """From the log into the tables."""
        self._db.flush()

    def get(self, key: bytes) -> bytes | None:
        value = self._get(key)
        return None if value is None else value[STAMP_BYTES:]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._iterate(prefix or OWN):
            if prefix and not key.startswith(prefix):
                return
            if not key.startswith(OWN):
                yield key, value[STAMP_BYTES:]

    def stamp(self, key: bytes) -> Stamp:
        """Of the row or of its tombstone; ZERO where there was none."""
        value = self._get(key)
        if value is not None:
            return stamp_of(value)
        tombstone = self._tombstones.get(key)
        return tombstone[0] if tombstone else ZERO

    def position(self) -> tuple[Stamp, bytes] | None:
        value = self._get(POSITION)
        return None if value is None else (stamp_of(value), value[STAMP_BYTES:])

    @property
    def offset(self) -> int:
        """Of the last changelog record that is in the rows; -1 before the first."""
        value = self._get(OFFSET)
        return -1 if value is None else int(value)

    def write(self, rows: Iterable[Stamped], offset: int) -> None:
        """Whatever stamps the stored rows have. The offset is that of the last changelog record now in the rows."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        now = self._clock()
        for key, value, stamp in rows:
            if value is not None:
                batch.put(key, stamp_bytes(stamp) + value)
                if self._tombstones.pop(key, None):
                    batch.delete(TOMBSTONE + key)
            else:
                batch.delete(key)
                self._tombstones.pop(key, None)
                self._tombstones[key] = stamp, now
                batch.put(TOMBSTONE + key, stamp_bytes(stamp) + str(now).encode())
        self._expire_tombstones(batch, now - TOMBSTONE_S)
        batch.put(OFFSET, str(offset).encode())
        self._db.write(batch)

    def merge(self, theirs: Iterable[Stamped], offset: int, ours: Mapping[bytes, Stamped] | None = None) -> Merge:
        """Rows of the changelog, in its order, then rows of ours that lie behind them: the highest stamp wins."""
        ours = ours or {}
        newest: dict[bytes, Stamped] = {}
        to_rewrite: set[bytes] = set()
        for row in theirs:
            current = newest[row.key].stamp if row.key in newest else self.stamp(row.key)
            if row.stamp < current:
                to_rewrite.add(row.key)
                continue
            to_rewrite.discard(row.key)
            newest[row.key] = row
        for key, row in ours.items():
            to_rewrite.discard(key)
            if key not in newest or newest[key].stamp <= row.stamp:
                newest[key] = row
            else:
                to_rewrite.add(key)
        replaced = {key for key, row in newest.items() if row is not ours.get(key) and row.stamp > self.stamp(key)}
        self.write(newest.values(), offset)
        return Merge(replaced, to_rewrite)

    def _expire_tombstones(self, batch: rocksdict.WriteBatch, before_s: float) -> None:
        """They are in the order of their deletion, so only the oldest are looked at."""
        for key in list(self._oldest(before_s)):
            del self._tombstones[key]
            batch.delete(TOMBSTONE + key)

    def _oldest(self, before_s: float) -> Iterator[bytes]:
        for key, (_, deleted_s) in self._tombstones.items():
            if deleted_s >= before_s:
                return
            yield key

    def _stored_tombstones(self) -> list[tuple[bytes, tuple[Stamp, float]]]:
        found = []
        for key, value in self._iterate(TOMBSTONE):
            if not key.startswith(TOMBSTONE):
                break
            found.append((key[len(TOMBSTONE) :], (stamp_of(value), float(value[STAMP_BYTES:]))))
        return sorted(found, key=lambda each: each[1][1])

    def _get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise read_error(self.path, error) from error
        return value

    def _iterate(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """rocksdict's own `items` take a block that cannot be read for the end."""
        rows = self._db.iter()
        try:
            rows.seek(key)
            while rows.valid():
                yield rows.key(), rows.value()
                rows.next()
            rows.status()
        except Exception as error:
            raise read_error(self.path, error) from error


@lru_cache(maxsize=16)  # a chunk's rows have one stamp
def stamp_bytes(stamp: Stamp) -> bytes:
    return _stamp.pack(*stamp)


def stamp_of(value: bytes) -> Stamp:
    """Of a stored value, which begins with it, or of a header's value."""
    return Stamp(*_stamp.unpack_from(value))


_position = msgspec.json.Decoder(Position)


def position_bytes(position: Position) -> bytes:
    return msgspec.json.encode(position)


def read_position(value: bytes) -> Position:
    return _position.decode(value)
