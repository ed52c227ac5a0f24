"""Opening a RocksDB directory: bounded memory and files, and a corrupt directory is set aside."""

import logging
import time
from functools import cache
from pathlib import Path

import rocksdict

log = logging.getLogger(__name__)

CACHE_BYTES = 64 * 2**20
"""Of blocks that were read, of all partitions together."""
MEMTABLE_BYTES = 16 * 2**20
OPEN_FILES = 256
LOG_BYTES = 2**20
BLOOM_BITS_PER_KEY = 10.0
CORRUPTION = "Corruption"
"""How RocksDB's errors of that kind begin."""
MARK = "DAMAGED"
"""A file in a directory in which a damaged block was read."""


class DirectoryTaken(Exception):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is open in another process; give each worker a data directory of its own")


class DirectoryCorrupt(Exception):
    def __init__(self, path: Path, cause: BaseException) -> None:
        super().__init__(f"{path} cannot be read ({cause}); the next start sets it aside and reads the changelog again")


def open_directory(path: Path) -> rocksdict.Rdict:
    """Raises DirectoryTaken. A directory that cannot be opened is set aside, and a new one made."""
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


def read_error(path: Path, error: Exception) -> Exception:
    """What to raise for an error of a read: RocksDB finds a damaged block only when it reads it."""
    if CORRUPTION not in str(error):
        return error
    (path / MARK).touch()
    return DirectoryCorrupt(path, error)


def _set_aside(path: Path, cause: str) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    log.warning("%s cannot be opened (%s): set aside as %s and read from the changelog again", path, cause, aside)
    path.rename(aside)


@cache
def _shared_cache() -> rocksdict.Cache:
    return rocksdict.Cache(CACHE_BYTES)


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
    blocks.set_block_cache(_shared_cache())
    options.set_block_based_table_factory(blocks)
    return options
