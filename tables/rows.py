"""Layout of a partition's stored rows: their keys and their JSON. Pure.

Keys: `0x…` a pool's small head record (the pool's Kafka key), `l/…` its listing, `r/…` its remembered blocks,
`t/…` its ticks at the base, a few per row, `h/…` a snapshot ahead of the head, `u/…` records of a pool that is not
listed, `c/…` headers of the chain, `~chain` the partition's head, its unfinished block and its positions.
Every row is harmless to write twice, and a crash may leave the rows of one commit written in part (ADR 13, ADR 17):
* head records carry the positions up to which they have read each topic, so records read again are skipped for them;
* a head record names its listing, whose row has another key where the listing is another;
* rows of remembered blocks name the block before them, and the head record names the last; what they hold beyond counts
  for nothing, and no row that counts is overwritten before the head record that no longer counts it is written;
* ticks have their snapshot in the key, so those of two snapshots are never mixed;
* each tick row says up to which block it is folded, so a change is folded into it once;
* the rows that a row replaces are deleted after it, and rows without a pool are deleted at load.
Rows of another layout are not read: the partition keeps its list of pools, and they ask for snapshots.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeVar

import msgspec

from protocols.registry import Event, PriceState
from protocols.ticks import Tick
from protocols.types import Block, PoolId
from streams.kafka.records import Header, Listed, Snapshot, Update
from tables.chain import Finality
from tables.fees import History
from tables.pool import Story, Waiting
from tables.unlisted import UnlistedPool

LAYOUT: Literal[5] = 5
"""Goes up with every change of the rows' JSON or of what it means."""
Layout = Literal[5]

CHAIN = b"~chain"
UNLISTED = b"u/"
HEADERS = b"c/"
LISTINGS = b"l/"
RING = b"r/"
TICKS = b"t/"
HELD = b"h/"
POOLS = b"0x"

Positions = Mapping[str, int]
"""Topic to the offset of the last record that is folded in."""
Get = Callable[[bytes], bytes | None]
Scan = Callable[[bytes], Iterator[tuple[bytes, bytes]]]
Rows = dict[bytes, bytes | None]
"""New values by key, in the order in which they are to be written; None deletes."""

RowsOfPool = Mapping[bytes, bytes]
"""A pool's rows by key, without its head record."""
T = TypeVar("T")

SHORT_HASH = 18
"""Characters of a hash that tell blocks of one number apart: 8 bytes."""


class OtherLayout(Exception):
    """A row cannot be read by this version."""


class Link(msgspec.Struct, frozen=True, array_like=True):
    """Where a remembered block is stored."""

    slot: int
    number: int
    short_hash: str

    def fits(self, block: Block) -> bool:
        return block.number == self.number and block.hash.startswith(self.short_hash)


class StoredBlock(msgspec.Struct, frozen=True, array_like=True):
    number: int
    hash: str
    events: tuple[Event, ...]

    @property
    def block(self) -> Block:
        return Block(self.number, self.hash)


class RingRow(msgspec.Struct, frozen=True, array_like=True):
    """Blocks that one commit added to a pool's memory, ascending; some may have left it since."""

    previous: Link | None
    """The block before them; None where that is the base."""
    blocks: tuple[StoredBlock, ...]


class LiveRow(msgspec.Struct, frozen=True, array_like=True, tag="live"):
    reference: Block
    base_block: Block
    base_price: PriceState
    tick_count: int
    last: Link | None
    """The newest block of the memory; None where nothing came after the base."""
    fees: History
    verified: Block | None
    audit_from: int | None


class WaitingRow(Waiting, frozen=True, array_like=True, tag="waiting"):
    pass


class PoolRow(msgspec.Struct, frozen=True):
    layout: Layout
    listing: str
    """In the key of the listing's row."""
    life: WaitingRow | LiveRow
    story: Story
    positions: dict[str, int]


class TicksRow(msgspec.Struct, frozen=True, array_like=True):
    number: int
    """See `ticks_row_of`."""
    folded: Block
    """The last block whose changes are in it."""
    ticks: tuple[Tick, ...]


class OldPoolRow(msgspec.Struct, frozen=True):
    """All that is read of a pool's row of layout 4 or less."""

    listed: Listed


class UnlistedRow(msgspec.Struct, frozen=True):
    layout: Layout
    unlisted: UnlistedPool
    chain_offset: int
    """Of the last record of `chain` that is folded in."""


class ChainRow(msgspec.Struct, frozen=True):
    layout: Layout
    head: str | None
    """Its hash."""
    partial: tuple[Update, ...]
    undecodable: tuple[PoolId, ...]
    since: int
    term: int
    positions: dict[str, int]
    finality: Finality = Finality()
    chain_id: int | None = None


Headers = tuple[Header, ...]

decode_pool = msgspec.json.Decoder(PoolRow).decode
decode_old_pool = msgspec.json.Decoder(OldPoolRow).decode
decode_listing = msgspec.json.Decoder(Listed).decode
decode_ring = msgspec.json.Decoder(RingRow).decode
decode_ticks = msgspec.json.Decoder(TicksRow).decode
decode_chain = msgspec.json.Decoder(ChainRow).decode
decode_headers = msgspec.json.Decoder(Headers).decode
decode_snapshot = msgspec.json.Decoder(Snapshot).decode
decode_unlisted = msgspec.json.Decoder(UnlistedRow).decode


def decode(decoder: Callable[[bytes], T], value: bytes) -> T:
    """Raises OtherLayout."""
    try:
        return decoder(value)
    except (ValueError, RecursionError) as error:  # msgspec's own, UnicodeDecodeError, deep nesting
        raise OtherLayout(f"a row is not of layout {LAYOUT}: {error}") from error


def ticks_row_of(tick: int, spacing: int) -> int:
    """A row has the ticks of 16 steps of the spacing, so a change rewrites two short rows."""
    return tick // spacing >> 4


def snapshot_id(reference: Block, story: Story) -> str:
    """The count tells two snapshots of the same block apart: the second replaces a state that was found wrong."""
    return f"{reference.number}-{reference.hash[2:18]}-{story.snapshots}"


def ticks_prefix(pool_id: PoolId, of_snapshot: str) -> bytes:
    """Of the keys of the tick rows that stand on one snapshot."""
    return f"t/{pool_id}/{of_snapshot}/".encode()


def listing_key(pool_id: PoolId, listing: str) -> bytes:
    return f"l/{pool_id}/{listing}".encode()


def ring_key(pool_id: PoolId, slot: int) -> bytes:
    return f"r/{pool_id}/{slot}".encode()


def held_key(pool_id: PoolId) -> bytes:
    return HELD + pool_id.encode()


def headers_key(slot: int) -> bytes:
    return HEADERS + b"%d" % slot


def pool_of(key: bytes) -> PoolId:
    """Of a row of a pool's listing, ring, ticks or held snapshot."""
    return PoolId(key.split(b"/")[1].decode())
