"""Layout of a partition's stored rows: their keys, their JSON, and which of them a change writes. Pure.

Keys: `0x…` a pool's small head record (the pool's Kafka key), `t/…` its ticks at the base, one row per bitmap word,
`h/…` a snapshot ahead of the head, `u/…` records of a pool that is not listed, `c/…` one header of the chain,
`~chain` the partition's head, its unfinished block and its positions.
Every row is harmless to write twice, and a crash may leave the rows of one commit written in part (ADR 13):
* head records carry the positions up to which they have read each topic, so records read again are skipped for them;
* ticks have their snapshot in the key, so those of two snapshots are never mixed;
* each tick row says up to which block it is folded, so a change is folded into it once;
* the rows that a row replaces are deleted after it, and rows without a pool are deleted at load.
Rows of another layout are not read: the partition keeps its list of pools, and they ask for snapshots.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import msgspec

from protocols.registry import PriceState
from protocols.ticks import Liquidity, Tick
from protocols.types import Block, PoolId
from streams.kafka.records import Header, Listed, Snapshot, Update
from tables.chain import CanonicalChain, Finality
from tables.fees import History
from tables.live import AppliedBlock, Base, Live
from tables.pool import Pool, Story, Waiting
from tables.unlisted import UnlistedPool

LAYOUT: Literal[4] = 4
"""Goes up with every change of the rows' JSON or of what it means."""
Layout = Literal[4]

CHAIN = b"~chain"
UNLISTED = b"u/"
HEADERS = b"c/"
TICKS = b"t/"
HELD = b"h/"
POOLS = b"0x"

Positions = Mapping[str, int]
"""Topic to the offset of the last record that is folded in."""
Get = Callable[[bytes], bytes | None]
Scan = Callable[[bytes], Iterator[tuple[bytes, bytes]]]
Rows = dict[bytes, bytes | None]
"""New values by key, in the order in which they are to be written; None deletes."""


class LiveRow(msgspec.Struct, frozen=True, tag="live"):
    reference: Block
    base_block: Block
    base_price: PriceState
    tick_count: int
    recent: tuple[AppliedBlock, ...]
    fees: History
    verified: Block | None
    audit_from: int | None


class WaitingRow(Waiting, frozen=True, tag="waiting"):
    pass


class PoolRow(msgspec.Struct, frozen=True):
    layout: Layout
    listed: Listed
    life: WaitingRow | LiveRow
    story: Story
    positions: dict[str, int]


class TicksRow(msgspec.Struct, frozen=True):
    word: int
    folded: Block
    """The last block whose changes are in it."""
    ticks: tuple[Tick, ...]


class ListingRow(msgspec.Struct, frozen=True):
    """The one field that is read of a pool's row of another layout."""

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


decode_pool = msgspec.json.Decoder(PoolRow).decode
decode_listing = msgspec.json.Decoder(ListingRow).decode
decode_ticks = msgspec.json.Decoder(TicksRow).decode
decode_chain = msgspec.json.Decoder(ChainRow).decode
decode_header = msgspec.json.Decoder(Header).decode
decode_snapshot = msgspec.json.Decoder(Snapshot).decode
decode_unlisted = msgspec.json.Decoder(UnlistedRow).decode
_encode = msgspec.json.Encoder().encode


def pool_changes(pool_id: PoolId, before: Pool | None, after: Pool | None, positions: Positions) -> Rows:
    """The rows to write when `before` becomes `after`, in order: ticks, the head record, deletions."""
    written, deleted = _tick_changes(pool_id, before, after)
    old_held, new_held = before.held if before else None, after.held if after else None
    if new_held and new_held is not old_held:
        written[held_key(pool_id)] = _encode(new_held.snapshot)
    elif old_held and not new_held:
        deleted[held_key(pool_id)] = None
    written[pool_id.encode()] = _encode(_pool_row(after, positions)) if after else None
    return written | deleted


def _tick_changes(pool_id: PoolId, before: Pool | None, after: Pool | None) -> tuple[Rows, Rows]:
    """The rows to write, and those to delete after them."""
    written: Rows = {}
    deleted: Rows = {}
    old, new = _base(before), _base(after)
    kept: Mapping[int, Mapping[int, Liquidity]] = {}
    if old and new and _snapshot_id(before) == _snapshot_id(after):
        kept = old.ticks.parts
    elif old:
        deleted = dict.fromkeys(
            (ticks_prefix(pool_id, _snapshot_id(before)) + b"%d" % word for word in old.ticks.parts), None
        )
    if new:
        prefix = ticks_prefix(pool_id, _snapshot_id(after))
        for word in sorted(new.ticks.parts.keys() | kept.keys()):
            part = new.ticks.parts.get(word, {})
            if kept.get(word) is not part:
                written[prefix + b"%d" % word] = _ticks_row(word, new.block, part)
    return written, deleted


def _base(pool: Pool | None) -> Base | None:
    return pool.life.base if pool and isinstance(pool.life, Live) else None


def _snapshot_id(pool: Pool | None) -> str:
    assert pool and isinstance(pool.life, Live)
    return snapshot_id(pool.life.reference, pool.story)


def snapshot_id(reference: Block, story: Story) -> str:
    """The count tells two snapshots of the same block apart: the second replaces a state that was found wrong."""
    return f"{reference.number}-{reference.hash[2:18]}-{story.snapshots}"


def ticks_prefix(pool_id: PoolId, of_snapshot: str | None = None) -> bytes:
    """Of the keys of all tick rows of a pool, or of those that stand on one snapshot."""
    return TICKS + f"{pool_id}/{f'{of_snapshot}/' if of_snapshot else ''}".encode()


def held_key(pool_id: PoolId) -> bytes:
    return HELD + pool_id.encode()


def _ticks_row(word: int, folded: Block, part: Mapping[int, Liquidity]) -> bytes:
    return _encode(TicksRow(word, folded, tuple(Tick(tick, *part[tick]) for tick in sorted(part))))


def _pool_row(pool: Pool, positions: Positions) -> PoolRow:
    life = pool.life
    if isinstance(life, Waiting):
        row: WaitingRow | LiveRow = WaitingRow(life.reason, life.since, life.pending, life.ask_from)
    else:
        row = LiveRow(
            reference=life.reference,
            base_block=life.base.block,
            base_price=life.base.price,
            tick_count=len(life.base.ticks),
            recent=life.recent,
            fees=life.fees,
            verified=life.verified,
            audit_from=life.audit_from,
        )
    return PoolRow(LAYOUT, pool.listed, row, pool.story, dict(positions))


def chain_changes(before: CanonicalChain, after: CanonicalChain, positions: Positions) -> Rows:
    old = {header_key(header): header for header in before.heads}
    new = {header_key(header): header for header in after.heads}
    written: Rows = {key: _encode(header) for key, header in new.items() if key not in old}
    head = after.head.hash if after.head else None
    row = ChainRow(
        LAYOUT,
        head,
        after.partial,
        after.undecodable,
        after.since,
        after.term,
        dict(positions),
        after.finality,
        after.chain_id,
    )
    written[CHAIN] = _encode(row)
    return written | dict.fromkeys((key for key in old if key not in new), None)


def header_key(header: Header) -> bytes:
    return HEADERS + f"{header.number:012d}/{header.hash[2:]}".encode()


def unlisted_changes(pool_id: PoolId, unlisted: UnlistedPool | None, positions: Positions) -> Rows:
    row = UnlistedRow(LAYOUT, unlisted, positions.get("chain", -1)) if unlisted else None
    return {UNLISTED + pool_id.encode(): _encode(row) if row else None}
