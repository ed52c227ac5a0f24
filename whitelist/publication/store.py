"""What a build makes, and what of it is published: as records, and where they are on disk."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from protocols.types import Block, PoolId, PoolMetadata
from settings import Settings
from whitelist.pools.selection import Listed, Rejected
from whitelist.sources.results import SourceReport

T = TypeVar("T")


class ListedToken(msgspec.Struct, frozen=True):
    address: str
    symbol: str | None
    decimals: int
    sources: tuple[str, ...]
    """The names of those that chose it."""


class Build(msgspec.Struct, frozen=True):
    """All decisions, as of one block."""

    snapshot_id: int
    """Milliseconds since the epoch; greater than that of any list published before."""
    block: Block
    tokens: Sequence[ListedToken]
    sources: Mapping[str, SourceReport]
    pools: Sequence[Listed]
    """The deepest first."""
    metadata: Sequence[PoolMetadata]
    """Of `pools`, in their order."""
    rejected: Sequence[Rejected]
    untold: int = 0
    """So many more pools have a token that nobody chose."""
    unresolved: Mapping[str, str] = {}
    """A symbol that leads to no token, and why; an address that is no token or blocked, and why."""

    @property
    def published(self) -> "Published":
        """What of it is to be published."""
        return Published(self.snapshot_id, self.block, self.metadata, self.tokens)


class Published(msgspec.Struct, frozen=True):
    snapshot_id: int
    block: Block
    pools: Sequence[PoolMetadata]
    tokens: Sequence[ListedToken]


class Unreadable(Exception):
    """A file of ours cannot be read."""


class WhitelistStore:
    """The service's directory under ARENA_DATA, one for each chain."""

    def __init__(self, settings: Settings) -> None:
        self.directory = settings.data / "whitelist" / settings.chain
        self.pools = self.directory / "pools.sqlite"
        self.answers = self.directory / "sources"
        self._build = self.directory / "build.json"
        self._published = self.directory / "published.json"

    def build(self) -> Build | None:
        """The last one. Raises Unreadable."""
        return _read(self._build, Build)

    def keep_build(self, build: Build) -> None:
        _write(self._build, build)

    def published(self) -> Published | None:
        """What was published last. Raises Unreadable."""
        return _read(self._published, Published)

    def keep_published(self, published: Published) -> None:
        _write(self._published, published)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time builds and publishes; raises Unreadable where another one does."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(f"another `whitelist` is at work in {self.directory}; try again when it is done") from error
            yield


class Busy(Exception):
    """Another process builds or publishes."""


def listed_ids(published: Published | None) -> frozenset[PoolId]:
    return frozenset(pool.id for pool in published.pools) if published is not None else frozenset()


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise Unreadable(f"{path} cannot be read: {error}; moved away, everything counts as new") from error


def _write(path: Path, value: object) -> None:
    """Whole or not at all, and there after a crash of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(value))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
