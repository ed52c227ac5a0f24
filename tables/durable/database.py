"""One partition's RocksDB: rows with their stamps, the position, and up to where the changelog is in it.

A stored value is a stamp and the row. A deleted row leaves a tombstone, its stamp, under `!dead/` for some hours, so
that an older value that arrives later (a worker that woke up after its partitions had gone to another) cannot revive
it. Every change is one WriteBatch, the changelog offset included, so rows and offset never disagree.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import rocksdict

from tables.durable.stamps import STAMP_BYTES, ZERO, Stamp, stamp_bytes, stamp_of

log = logging.getLogger(__name__)

OWN = b"!"
"""Keys that begin with it are not the application's."""
POSITION = b"!position"
OFFSET = b"!offset"
DEAD = b"!dead/"

CACHE_BYTES = 32 * 2**20
MEMTABLE_BYTES = 16 * 2**20
OPEN_FILES = 256
LOG_BYTES = 2**20
BLOOM_BITS_PER_KEY = 10.0
CORRUPTION = "Corruption"
"""How RocksDB's errors of that kind begin."""
MARK = "DAMAGED"
TOMBSTONE_S = 6 * 60 * 60.0
"""How long an older write can still turn up: as long as the changelog is kept from compaction."""


class Stamped(NamedTuple):
    key: bytes
    value: bytes | None
    """None is a deletion."""
    stamp: Stamp


class Merge(NamedTuple):
    won: set[bytes]
    """Keys whose stored row was replaced from the changelog."""
    lost: set[bytes]
    """Keys whose last record in the changelog is not the row that is stored."""


class DirectoryTaken(Exception):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is open in another process; give each worker a data directory of its own")


class DirectoryCorrupt(Exception):
    def __init__(self, path: Path, cause: BaseException) -> None:
        super().__init__(f"{path} cannot be read ({cause}); the next start sets it aside and reads the changelog again")


class Database:
    """Implements Rows."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises DirectoryTaken. What cannot be opened is set aside: its rows are all in the changelog."""
        self.path = path
        self._clock = clock
        self._db = _open(path)
        self._dead: dict[bytes, tuple[Stamp, float]] = dict(self._tombstones())

    def close(self) -> None:
        self._db.close()

    def flush(self) -> None:
        """From the log into the tables."""
        self._db.flush()

    def get(self, key: bytes) -> bytes | None:
        value = self._get(key)
        return None if value is None else value[STAMP_BYTES:]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._from(prefix or OWN):
            if prefix and not key.startswith(prefix):
                return
            if not key.startswith(OWN):
                yield key, value[STAMP_BYTES:]

    def stamp(self, key: bytes) -> Stamp:
        """Of the row or of its tombstone; ZERO where there was none."""
        value = self._get(key)
        if value is not None:
            return stamp_of(value)
        dead = self._dead.get(key)
        return dead[0] if dead else ZERO

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
                if self._dead.pop(key, None):
                    batch.delete(DEAD + key)
            else:
                batch.delete(key)
                self._dead.pop(key, None)
                self._dead[key] = stamp, now
                batch.put(DEAD + key, stamp_bytes(stamp) + str(now).encode())
        self._bury(batch, now - TOMBSTONE_S)
        batch.put(OFFSET, str(offset).encode())
        self._db.write(batch)

    def merge(self, theirs: Iterable[Stamped], offset: int, ours: Mapping[bytes, Stamped] | None = None) -> Merge:
        """Rows of the changelog, in its order, then rows of ours that lie behind them: the highest stamp wins."""
        newest: dict[bytes, Stamped] = {}
        lost: set[bytes] = set()
        for row in theirs:
            current = newest[row.key].stamp if row.key in newest else self.stamp(row.key)
            if row.stamp < current:
                lost.add(row.key)
                continue
            lost.discard(row.key)
            newest[row.key] = row
        for key, row in (ours or {}).items():
            lost.discard(key)
            if key not in newest or newest[key].stamp <= row.stamp:
                newest[key] = row
            else:
                lost.add(key)
        won = {key for key, row in newest.items() if row is not (ours or {}).get(key) and row.stamp > self.stamp(key)}
        self.write(newest.values(), offset)
        return Merge(won, lost)

    def _bury(self, batch: rocksdict.WriteBatch, before: float) -> None:
        """Tombstones are in the order of their death, so only the oldest are looked at."""
        for key in list(self._oldest(before)):
            del self._dead[key]
            batch.delete(DEAD + key)

    def _oldest(self, before: float) -> Iterator[bytes]:
        for key, (_, died) in self._dead.items():
            if died >= before:
                return
            yield key

    def _tombstones(self) -> list[tuple[bytes, tuple[Stamp, float]]]:
        found = []
        for key, value in self._from(DEAD):
            if not key.startswith(DEAD):
                break
            found.append((key[len(DEAD) :], (stamp_of(value), float(value[STAMP_BYTES:]))))
        return sorted(found, key=lambda each: each[1][1])

    def _get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._read_error(error) from error
        return value

    def _from(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """rocksdict's own `items` take a block that cannot be read for the end."""
        rows = self._db.iter()
        try:
            rows.seek(key)
            while rows.valid():
                yield rows.key(), rows.value()
                rows.next()
            rows.status()
        except Exception as error:
            raise self._read_error(error) from error

    def _read_error(self, error: Exception) -> Exception:
        """RocksDB finds a damaged block only when it reads it."""
        if CORRUPTION not in str(error):
            return error
        (self.path / MARK).touch()
        return DirectoryCorrupt(self.path, error)


def _open(path: Path) -> rocksdict.Rdict:
    if (path / MARK).exists():
        _set_aside(path, "marked as damaged")
    try:
        return rocksdict.Rdict(str(path), options=_options())
    except Exception as error:  # rocksdict raises nothing more precise
        if "lock" in str(error).lower():
            raise DirectoryTaken(path) from error
        if CORRUPTION not in str(error) and "Invalid argument" not in str(error):
            raise
        _set_aside(path, str(error))
        return rocksdict.Rdict(str(path), options=_options())


def _set_aside(path: Path, cause: str) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    log.warning("%s cannot be opened (%s): set aside as %s and read from the changelog again", path, cause, aside)
    path.rename(aside)


def _options() -> rocksdict.Options:
    """Bounded: Faust's own take 2 GiB of cache for each partition."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_paranoid_checks(True)
    options.set_max_open_files(OPEN_FILES)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_total_wal_size(4 * MEMTABLE_BYTES)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_max_log_file_size(LOG_BYTES)
    options.set_keep_log_file_num(2)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    blocks.set_block_cache(rocksdict.Cache(CACHE_BYTES))
    options.set_block_based_table_factory(blocks)
    return options
