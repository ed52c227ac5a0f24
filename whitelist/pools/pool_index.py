"""Every pool that the factories created, in SQLite, and the checkpoints of their scan."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from protocols.types import Block, PoolId, ProtocolName
from whitelist.pools.factory_events import DiscoveredPool

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS pools (
    id TEXT PRIMARY KEY, protocol TEXT NOT NULL, factory TEXT NOT NULL, token0 TEXT NOT NULL, token1 TEXT NOT NULL,
    fee INTEGER, tick_spacing INTEGER, hooks TEXT NOT NULL, block INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pools_by_factory ON pools (factory, block);
CREATE INDEX IF NOT EXISTS pools_by_token0 ON pools (token0);
CREATE TABLE IF NOT EXISTS scanned (
    factory TEXT NOT NULL, number INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (factory, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS begun (factory TEXT PRIMARY KEY, protocol TEXT NOT NULL, from_block INTEGER NOT NULL);
"""
COLUMNS = "id, protocol, factory, token0, token1, fee, tick_spacing, hooks"
LOCK_TIMEOUT_S = 30
LAST_BLOCK = 2**62
PROVEN = 1
"""The file's `user_version` since each scanned range is proven (whitelist/pools/log_proof.py)."""


class PoolIndex:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def start_factory(self, factory: str, protocol: ProtocolName, from_block: int) -> None:
        """Drops what was found of the factory under another protocol, or from a later block on."""
        row = self._connection.execute(
            "SELECT protocol, from_block FROM begun WHERE factory = ?", (factory,)
        ).fetchone()
        if row is not None and row[0] == protocol and row[1] <= from_block:
            return
        with self._connection:
            for table in ("pools", "scanned"):
                self._connection.execute(f"DELETE FROM {table} WHERE factory = ?", (factory,))
            self._connection.execute("INSERT OR REPLACE INTO begun VALUES (?, ?, ?)", (factory, protocol, from_block))

    def checkpoints(self, factory: str) -> list[Block]:
        """The last block of each scanned range, ascending."""
        rows = self._connection.execute(
            "SELECT number, hash FROM scanned WHERE factory = ? ORDER BY number", (factory,)
        )
        return [Block(number, block_hash) for number, block_hash in rows]

    def truncate(self, factory: str, number: int) -> None:
        with self._connection:
            self._connection.execute("DELETE FROM pools WHERE factory = ? AND block > ?", (factory, number))
            self._connection.execute("DELETE FROM scanned WHERE factory = ? AND number > ?", (factory, number))

    def add_range(self, factory: str, pools: Iterable[tuple[int, DiscoveredPool]], end: Block) -> None:
        """`pools`: each with the block of its creation; `end`: the range's last block, a checkpoint."""
        rows = [
            (
                *(pool.id, pool.protocol, pool.factory, pool.token0, pool.token1),
                *(pool.fee, pool.tick_spacing, pool.hooks, block),
            )
            for block, pool in pools
        ]
        with self._connection:
            self._connection.executemany(f"INSERT OR REPLACE INTO pools VALUES ({','.join('?' * 9)})", rows)
            self._connection.execute("INSERT OR REPLACE INTO scanned VALUES (?, ?, ?)", (factory, end.number, end.hash))

    def count(self, factories: Sequence[str], up_to: int | None = None) -> int:
        """Pools created up to and including the block `up_to`; None: all."""
        marks = ",".join("?" * len(factories))
        row = self._connection.execute(
            f"SELECT count(*) FROM pools WHERE factory IN ({marks}) AND block <= ?",
            (*factories, LAST_BLOCK if up_to is None else up_to),
        ).fetchone()
        return int(row[0])

    def of_tokens(self, tokens: Iterable[str], factories: Sequence[str]) -> list[DiscoveredPool]:
        """The pools whose tokens are both in `tokens`."""
        self._load_tokens(tokens)
        return self._pools(
            f"SELECT {COLUMNS} FROM pools WHERE token0 IN (SELECT token FROM chosen)"
            f" AND token1 IN (SELECT token FROM chosen) AND factory IN ({','.join('?' * len(factories))}) ORDER BY id",
            *factories,
        )

    def outside_tokens(self, tokens: Iterable[str], factories: Sequence[str], limit: int) -> list[DiscoveredPool]:
        """The pools with a token that is not in `tokens`, the newest first, at most `limit`."""
        self._load_tokens(tokens)
        return self._pools(
            f"SELECT {COLUMNS} FROM pools WHERE NOT (token0 IN (SELECT token FROM chosen)"
            f" AND token1 IN (SELECT token FROM chosen)) AND factory IN ({','.join('?' * len(factories))})"
            " ORDER BY block DESC, id LIMIT ?",
            *factories,
            limit,
        )

    def pool(self, pool_id: PoolId) -> DiscoveredPool | None:
        return next(iter(self._pools(f"SELECT {COLUMNS} FROM pools WHERE id = ?", pool_id)), None)

    def _load_tokens(self, tokens: Iterable[str]) -> None:
        with self._connection:
            self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (token TEXT PRIMARY KEY) WITHOUT ROWID")
            self._connection.execute("DELETE FROM chosen")
            self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((token,) for token in tokens))

    def _pools(self, query: str, *parameters: object) -> list[DiscoveredPool]:
        return [DiscoveredPool(*row) for row in self._connection.execute(query, parameters)]


class PoolIndexUnreadable(Exception):
    """The file is not a usable database."""


@contextmanager
def open_index(path: Path) -> Iterator[PoolIndex]:
    """Raises OSError where the directory cannot be created, PoolIndexUnreadable where the file is not usable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            _drop_unproven(connection, path)
            yield PoolIndex(connection)
    except sqlite3.Error as error:
        raise PoolIndexUnreadable(f"{path}: {error}; move it away, and the factories are scanned again") from error


def _drop_unproven(connection: sqlite3.Connection, path: Path) -> None:
    """A scan of an earlier version may have taken a pruned node's empty answers for the truth."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version >= PROVEN:
        return
    with connection:
        if connection.execute("DELETE FROM scanned").rowcount:
            log.warning("%s: scanned without proof by an earlier version; the factories are scanned again", path)
        connection.execute("DELETE FROM pools")
        connection.execute(f"PRAGMA user_version = {PROVEN}")
