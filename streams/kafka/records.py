"""The records of every topic and their JSON: the one place where a topic's bytes become types. Pure.

Integers beyond 2^53 are written as decimal strings, which every language reads exactly; both forms are read.
"""

from typing import TypeVar

import msgspec

from protocols.registry import Event, State, can_be, dex_of
from protocols.types import (
    ADDRESS,
    LARGEST_TICK_SPACING,
    AmountOutOfBounds,
    Block,
    Natural,
    PoolId,
    PoolMetadata,
    check_amounts,
    pool_id,
)
from streams.json_input import InvalidJson, decode_json
from streams.kafka.quotation import QUOTED_ERROR_CHARACTERS, QUOTED_KEY_BYTES, QUOTED_VALUE_BYTES, first_bytes, to_text

T = TypeVar("T")

LARGEST_DOUBLE = 2**53
"""Above it a JSON number is not exact in every reader."""
UNREAD = 2**53 - 1
"""The first block of a listed pool whose logs cannot be read yet: no block that comes counts, and the pool waits."""


class Listed(msgspec.Struct, frozen=True, tag="listed"):
    """Topic `whitelist`, keyed by pool; a tombstone takes the pool off the list."""

    pool: PoolMetadata
    from_block: Natural
    """The first block from which the pool's events are sure to be on `chain`."""

    def __post_init__(self) -> None:
        """Raises UnknownProtocol, which msgspec turns into its ValidationError."""
        dex_of(self.pool.protocol)


AUDIT = "audit"
"""The reason of a snapshot request for a live pool."""


class SnapshotRequest(msgspec.Struct, frozen=True, tag="wanted"):
    """Topic `wanted`, keyed by pool: all that the scraper needs to take a snapshot."""

    pool: PoolMetadata
    reason: str
    not_before: Natural
    """The lowest block at which the snapshot may be taken."""

    def __post_init__(self) -> None:
        """Raises UnknownProtocol, which msgspec turns into its ValidationError."""
        dex_of(self.pool.protocol)


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """Topic `snapshots`, keyed by pool: the pool's whole state at the end of `block`."""

    pool: PoolId
    block: Block
    state: State


class Unreadable(msgspec.Struct, frozen=True, tag="unreadable"):
    """Topic `snapshots`, keyed by pool: why the pool has no state at `block`."""

    pool: PoolId
    block: Block
    reason: str


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Topic `chain`, keyed by pool: everything that happened to a pool in a block, in log order."""

    pool: PoolId
    block: Block
    events: tuple[Event, ...]
    part: Natural = 0
    """Above 0 only where a feed without block marks had to be cut."""
    term: Natural | None = None
    """Of the bridge that wrote it; a record with a lower term than one before it is ignored. None: never ignored."""


class Header(msgspec.Struct, frozen=True):
    number: Natural
    hash: str
    parent: str
    timestamp: Natural
    """Seconds since the epoch."""


class Head(msgspec.Struct, frozen=True, tag="head"):
    """Topic `chain`, every partition: the block is complete."""

    block: Header
    updates: Natural
    """How many Update records this partition got for the block."""
    term: Natural | None = None
    """Of the bridge that wrote it; a record with a lower term than one before it is ignored. None: never ignored."""
    safe: Natural | None = None
    finalized: Natural | None = None
    """Number of the newest finalized block, as `safe` of the newest safe one; None where the node does not say."""
    chain_id: Natural | None = None
    """As the bridge's node has it; None in records of earlier versions."""


class Reorg(msgspec.Struct, frozen=True, tag="reorg"):
    """Topic `chain`, every partition: the blocks after `ancestor` are gone; their successors follow."""

    ancestor: Block
    tip: Block | None = None
    """The head that is gone, where it is known."""
    term: Natural | None = None
    """Of the bridge that wrote it; a record with a lower term than one before it is ignored. None: never ignored."""


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """Topic `chain`, every partition: blocks first to last could not be recovered."""

    first: Natural
    last: Natural
    reason: str
    term: Natural | None = None
    """Of the bridge that wrote it; a record with a lower term than one before it is ignored. None: never ignored."""


class DeadLetter(msgspec.Struct, frozen=True, tag="dead_letter"):
    """Topic `dead-letters`: a record that could not be read or applied, and where it stands."""

    topic: str
    partition: int
    offset: int
    error: str
    key: str
    """See `to_text`; at most the first QUOTED_KEY_BYTES."""
    value: str
    """See `to_text`; at most the first QUOTED_VALUE_BYTES."""
    key_bytes: Natural | None = None
    """Length of the whole key. None: `key` is whole (letters of earlier versions)."""
    value_bytes: Natural | None = None
    """Length of the whole value. None: `value` is whole (letters of earlier versions)."""

    @property
    def is_whole(self) -> bool:
        """Whether key and value are quoted in full, so that the record can be made from them again."""
        return (self.key_bytes or 0) <= QUOTED_KEY_BYTES and (self.value_bytes or 0) <= QUOTED_VALUE_BYTES


WhitelistRecord = Listed
ChainRecord = Update | Head | Reorg | Gap
SnapshotRecord = Snapshot | Unreadable
Record = Listed | SnapshotRequest | Update | Head | Reorg | Gap | Snapshot | Unreadable | DeadLetter


class Undecodable(Exception):
    """A record's bytes are not what its topic holds."""


def encode_record(record: Record) -> bytes:
    return msgspec.json.encode(_exact(msgspec.to_builtins(record)))


def _exact(value: object) -> object:
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if type(value) is int and not -LARGEST_DOUBLE <= value <= LARGEST_DOUBLE:
        return str(value)
    return value


def dead_letter(origin: tuple[str, int, int], error: str, key: bytes | None, value: bytes | None) -> DeadLetter:
    """`origin`: topic, partition and offset. Long keys, values and errors are cut."""
    return DeadLetter(
        *origin,
        error[:QUOTED_ERROR_CHARACTERS],
        to_text(first_bytes(key, QUOTED_KEY_BYTES)),
        to_text(first_bytes(value, QUOTED_VALUE_BYTES)),
        len(key or b""),
        len(value or b""),
    )


_listed: msgspec.json.Decoder[Listed] = msgspec.json.Decoder(Listed, strict=False)
_wanted: msgspec.json.Decoder[SnapshotRequest] = msgspec.json.Decoder(SnapshotRequest, strict=False)
_chain: msgspec.json.Decoder[ChainRecord] = msgspec.json.Decoder(ChainRecord, strict=False)
_snapshots: msgspec.json.Decoder[SnapshotRecord] = msgspec.json.Decoder(SnapshotRecord, strict=False)


def decode_listed(value: bytes) -> Listed:
    record = _read(_listed, value)
    _check_pool(record.pool)
    return record


def decode_snapshot_request(value: bytes) -> SnapshotRequest:
    record = _read(_wanted, value)
    _check_pool(record.pool)
    return record


def decode_chain(value: bytes) -> ChainRecord:
    record = _read(_chain, value)
    if isinstance(record, Update):
        _expect_amounts(*record.events)
    return record


def decode_snapshot(value: bytes) -> SnapshotRecord:
    record = _read(_snapshots, value)
    if isinstance(record, Snapshot):
        _expect_amounts(record.state, *getattr(record.state, "ticks", ()))
    return record


def _expect_amounts(*amounts: msgspec.Struct) -> None:
    try:
        check_amounts(*amounts)
    except AmountOutOfBounds as error:
        raise Undecodable(str(error)) from error


def _check_pool(pool: PoolMetadata) -> None:
    """Lists are checked where they are read; this refuses records that another program wrote. Raises Undecodable."""
    if pool_id(pool.id) != pool.id or not can_be(pool.id, pool.protocol):
        raise Undecodable(f"{pool.id!r} is not the id of a {pool.protocol} pool")
    for name, address in (
        ("factory", pool.factory),
        *(("token", token.address) for token in (pool.token0, pool.token1)),
    ):
        if address is not None and not ADDRESS.fullmatch(address):
            raise Undecodable(f"{address!r} is not the address of a {name}")
    if pool.tick_spacing is not None and not 1 <= pool.tick_spacing <= LARGEST_TICK_SPACING:
        raise Undecodable(
            f"the tick spacing of {pool.id} is {pool.tick_spacing}, and it is 1 to {LARGEST_TICK_SPACING}"
        )


def _read(decoder: msgspec.json.Decoder[T], value: bytes) -> T:
    try:
        return decode_json(decoder, value)
    except InvalidJson as error:
        raise Undecodable(str(error)) from error
