"""Every pool that the factories ever created, on disk, and how far each factory is scanned."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from protocols.types import Block, PoolId, ProtocolName
from whitelist.pools.factory_events import DiscoveredPool

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
PATIENCE_S = 30


class PoolIndex:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def begin(self, factory: str, protocol: ProtocolName, from_block: int) -> None:
        """What was found of a factory as another kind, or from a later block on, is forgotten."""
        row = self._connection.execute(
            "SELECT protocol, from_block FROM begun WHERE factory = ?", (factory,)
        ).fetchone()
        if row is not None and row[0] == protocol and row[1] <= from_block:
            return
        with self._connection:
            for table in ("pools", "scanned"):
                self._connection.execute(f"DELETE FROM {table} WHERE factory = ?", (factory,))
            self._connection.execute("INSERT OR REPLACE INTO begun VALUES (?, ?, ?)", (factory, protocol, from_block))

    def scanned(self, factory: str) -> list[Block]:
        """Up to which blocks the factory was scanned, ascending: each is where one range ended."""
        rows = self._connection.execute(
            "SELECT number, hash FROM scanned WHERE factory = ? ORDER BY number", (factory,)
        )
        return [Block(number, block_hash) for number, block_hash in rows]

    def forget_after(self, factory: str, number: int) -> None:
        with self._connection:
            self._connection.execute("DELETE FROM pools WHERE factory = ? AND block > ?", (factory, number))
            self._connection.execute("DELETE FROM scanned WHERE factory = ? AND number > ?", (factory, number))

    def add(self, factory: str, pools: Iterable[tuple[int, DiscoveredPool]], end: Block) -> None:
        """The pools of one range with the blocks of their creation, and the range's last block."""
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

    def count(self, factories: Sequence[str]) -> int:
        marks = ",".join("?" * len(factories))
        row = self._connection.execute(f"SELECT count(*) FROM pools WHERE factory IN ({marks})", factories).fetchone()
        return int(row[0])

    def trading(self, tokens: Iterable[str], factories: Sequence[str]) -> list[DiscoveredPool]:
        """The pools whose tokens are both among these."""
        self._keep_tokens(tokens)
        return self._pools(
            f"SELECT {COLUMNS} FROM pools WHERE token0 IN (SELECT token FROM chosen)"
            f" AND token1 IN (SELECT token FROM chosen) AND factory IN ({','.join('?' * len(factories))}) ORDER BY id",
            *factories,
        )

    def others(self, tokens: Iterable[str], factories: Sequence[str], most: int) -> list[DiscoveredPool]:
        """The pools with a token that is not among these, the newest first."""
        self._keep_tokens(tokens)
        return self._pools(
            f"SELECT {COLUMNS} FROM pools WHERE NOT (token0 IN (SELECT token FROM chosen)"
            f" AND token1 IN (SELECT token FROM chosen)) AND factory IN ({','.join('?' * len(factories))})"
            " ORDER BY block DESC, id LIMIT ?",
            *factories,
            most,
        )

    def pool(self, pool_id: PoolId) -> DiscoveredPool | None:
        return next(iter(self._pools(f"SELECT {COLUMNS} FROM pools WHERE id = ?", pool_id)), None)

    def _keep_tokens(self, tokens: Iterable[str]) -> None:
        with self._connection:
            self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (token TEXT PRIMARY KEY) WITHOUT ROWID")
            self._connection.execute("DELETE FROM chosen")
            self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((token,) for token in tokens))

    def _pools(self, query: str, *parameters: object) -> list[DiscoveredPool]:
        return [DiscoveredPool(*row) for row in self._connection.execute(query, parameters)]


class PoolsUnreadable(Exception):
    """The file of found pools cannot be used."""


@contextmanager
def opened(path: Path) -> Iterator[PoolIndex]:
    """Raises OSError where the directory cannot be made, PoolsUnreadable where the file cannot be used."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            yield PoolIndex(connection)
    except sqlite3.Error as error:
        raise PoolsUnreadable(f"{path}: {error}; moved away, the factories are scanned anew") from error
