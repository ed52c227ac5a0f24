"""The records of a build and of the published list, and their files on disk."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from protocols.types import Block, PoolId, PoolMetadata
from settings import Settings
from streams.json_input import InvalidJson, decode_json
from whitelist.pools.selection import Listed, Rejected
from whitelist.sources.results import SourceReport
from whitelist.tokens.chosen import ListedToken

T = TypeVar("T")


class Build(msgspec.Struct, frozen=True):
    """All decisions, as of one block."""

    snapshot_id: int
    """Milliseconds since the epoch; higher than that of any published list."""
    block: Block
    tokens: Sequence[ListedToken]
    sources: Mapping[str, SourceReport]
    pools: Sequence[Listed]
    """By falling liquidity."""
    metadata: Sequence[PoolMetadata]
    """Of `pools`, in the same order."""
    rejected: Sequence[Rejected]
    omitted: int = 0
    """The number of further pools with a token that no source chose."""
    unresolved: Mapping[str, str] = {}
    """Symbols without an address, and addresses that are blocked or no token, with the reason."""

    @property
    def published(self) -> "Published":
        """The part that is published."""
        return Published(self.snapshot_id, self.block, self.metadata, self.tokens)


class Published(msgspec.Struct, frozen=True):
    snapshot_id: int
    block: Block
    pools: Sequence[PoolMetadata]
    tokens: Sequence[ListedToken]


class StoreUnreadable(Exception):
    """A file of the store cannot be decoded."""


class WhitelistStore:
    """The service's directory under ARENA_DATA, one per chain."""

    def __init__(self, settings: Settings) -> None:
        self.directory = settings.data / "whitelist" / settings.chain
        self.pools = self.directory / "pools.sqlite"
        self.source_answers = self.directory / "sources"
        self._build = self.directory / "build.json"
        self._published = self.directory / "published.json"

    def build(self) -> Build | None:
        """The last one. Raises StoreUnreadable."""
        return _read(self._build, Build)

    def save_build(self, build: Build) -> None:
        _write(self._build, build)

    def published(self) -> Published | None:
        """The list published last. Raises StoreUnreadable."""
        return _read(self._published, Published)

    def save_published(self, published: Published) -> None:
        _write(self._published, published)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process at a time builds and publishes. Raises StoreLocked where another one does."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreLocked(
                    f"another `whitelist` process uses {self.directory}; try again when it has ended"
                ) from error
            yield


class StoreLocked(Exception):
    """Another process is building or publishing."""


def listed_ids(published: Published | None) -> frozenset[PoolId]:
    return frozenset(pool.id for pool in published.pools) if published is not None else frozenset()


def _read(path: Path, record: type[T]) -> T | None:
    try:
        return decode_json(msgspec.json.Decoder(record), path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, InvalidJson) as error:
        raise StoreUnreadable(f"{path} cannot be read: {error}; move it away, and every pool counts as new") from error


def _write(path: Path, value: object) -> None:
    """Atomic, and durable when it returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(value))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
