"""Which rows a change of a partition writes, in the order that a torn write needs (see `tables.rows`). Pure."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from protocols.ticks import Tick, Ticks, differing
from protocols.types import Block, PoolId
from tables.chain import CanonicalChain
from tables.live import AppliedBlock, Base, Live
from tables.pool import Pool, Waiting
from tables.ring import Slots, added
from tables.rows import (
    CHAIN,
    LAYOUT,
    SHORT_HASH,
    UNLISTED,
    ChainRow,
    Link,
    LiveRow,
    PoolRow,
    Positions,
    RingRow,
    Rows,
    StoredBlock,
    TicksRow,
    UnlistedRow,
    WaitingRow,
    headers_key,
    held_key,
    listing_key,
    ring_key,
    snapshot_id,
    ticks_prefix,
    ticks_row_of,
)
from tables.unlisted import UnlistedPool

_encode = msgspec.json.Encoder().encode


class PoolNames(NamedTuple):
    """What a pool's stored rows are called, beyond what follows from the pool."""

    listing: str = ""
    slots: Slots = ()
    """Of the remembered blocks."""
    ring_size: int = 0
    """Ring rows that may exist: those of the slots below it."""


NO_NAMES = PoolNames()


class PoolWrite(NamedTuple):
    rows: Rows
    names: PoolNames
    """Once the rows are written."""


def pool_changes(
    pool_id: PoolId, before: Pool | None, after: Pool | None, names: PoolNames, positions: Positions
) -> PoolWrite:
    """What to write so that `after` is stored where `before` is."""
    if after is None:
        return PoolWrite(_removal(pool_id, before, names), NO_NAMES)
    written, deleted, listing = _listing_changes(pool_id, before, after, names.listing)
    names = _add_ring(written, pool_id, before, after, PoolNames(listing, names.slots, names.ring_size))
    _add_ticks(written, deleted, pool_id, before, after)
    old_held, new_held = before.held if before else None, after.held
    if new_held and new_held is not old_held:
        written[held_key(pool_id)] = _encode(new_held.snapshot)
    elif old_held and not new_held:
        deleted[held_key(pool_id)] = None
    written[pool_id.encode()] = _encode(_pool_row(after, names, positions))
    return PoolWrite(written | deleted, names)


def _removal(pool_id: PoolId, pool: Pool | None, names: PoolNames) -> Rows:
    deleted: Rows = {pool_id.encode(): None, listing_key(pool_id, names.listing): None}
    deleted |= {ring_key(pool_id, slot): None for slot in range(names.ring_size)}
    if base := _base(pool):
        deleted |= {_ticks_key(pool_id, pool, number): None for number in _numbers(base.state.ticks)}
    if pool and pool.held:
        deleted[held_key(pool_id)] = None
    return deleted


def _listing_changes(pool_id: PoolId, before: Pool | None, after: Pool, stored: str) -> tuple[Rows, Rows, str]:
    if before and before.listed is after.listed:
        return {}, {}, stored
    value = _encode(after.listed)
    listing = listing_name(value)
    if listing == stored:
        return {}, {}, stored
    return {listing_key(pool_id, listing): value}, {listing_key(pool_id, stored): None} if stored else {}, listing


def listing_name(row: bytes) -> str:
    return hashlib.blake2b(row, digest_size=8).hexdigest()


def _add_ring(written: Rows, pool_id: PoolId, before: Pool | None, after: Pool, names: PoolNames) -> PoolNames:
    """Adds a row with the blocks that are remembered anew."""
    old, new = _recent(before), _recent(after)
    kept, slot, slots = added(old, new, names.slots)
    if kept == len(new):
        return PoolNames(names.listing, slots, names.ring_size)
    blocks = tuple(StoredBlock(each.block.number, each.block.hash, each.events) for each in new[kept:])
    previous = _link(slots[kept - 1], new[kept - 1].block) if kept else None
    written[ring_key(pool_id, slot)] = _encode(RingRow(previous, blocks))
    return PoolNames(names.listing, slots, max(names.ring_size, slot + 1))


def _recent(pool: Pool | None) -> tuple[AppliedBlock, ...]:
    return pool.life.recent if pool and isinstance(pool.life, Live) else ()


def _link(slot: int, block: Block) -> Link:
    return Link(slot, block.number, block.hash[:SHORT_HASH])


def _add_ticks(written: Rows, deleted: Rows, pool_id: PoolId, before: Pool | None, after: Pool) -> None:
    old, new = _base(before), _base(after)
    if old and new and _same_snapshot(before, after):
        if old.state.ticks is not new.state.ticks:
            changed = differing(old.state.ticks, new.state.ticks)
            numbers = {ticks_row_of(tick, new.state.ticks.spacing) for tick in changed}
            _rewrite_ticks(written, pool_id, after, numbers)
        return
    if old:
        deleted |= {_ticks_key(pool_id, before, number): None for number in _numbers(old.state.ticks)}
    if new:
        _rewrite_ticks(written, pool_id, after, _numbers(new.state.ticks))


def _rewrite_ticks(written: Rows, pool_id: PoolId, pool: Pool, numbers: Iterable[int]) -> None:
    assert isinstance(pool.life, Live)
    base = pool.life.base
    for number in sorted(numbers):
        row = TicksRow(number, base.block, tuple(_ticks_of_row(base.state.ticks, number)))
        written[_ticks_key(pool_id, pool, number)] = _encode(row)


def _numbers(ticks: Ticks) -> set[int]:
    return {ticks_row_of(tick, ticks.spacing) for part in ticks.parts.values() for tick in part}


def _ticks_of_row(ticks: Ticks, number: int) -> Iterator[Tick]:
    part = ticks.parts.get(number >> 4, {})
    for step in range(number << 4, number + 1 << 4):
        if liquidity := part.get(tick := step * ticks.spacing):
            yield Tick(tick, *liquidity)


def _base(pool: Pool | None) -> Base | None:
    return pool.life.base if pool and isinstance(pool.life, Live) else None


def _same_snapshot(before: Pool | None, after: Pool) -> bool:
    assert before and isinstance(before.life, Live) and isinstance(after.life, Live)
    return (before.life.reference, before.story.snapshots) == (after.life.reference, after.story.snapshots)


def _ticks_key(pool_id: PoolId, pool: Pool | None, number: int) -> bytes:
    assert pool and isinstance(pool.life, Live)
    return ticks_prefix(pool_id, snapshot_id(pool.life.reference, pool.story)) + b"%d" % number


def _pool_row(pool: Pool, names: PoolNames, positions: Positions) -> PoolRow:
    life = pool.life
    if isinstance(life, Waiting):
        row: WaitingRow | LiveRow = WaitingRow(life.reason, life.since, life.pending, life.ask_from)
    else:
        row = LiveRow(
            reference=life.reference,
            base_block=life.base.block,
            base_price=life.base.state.price,
            tick_count=len(life.base.state.ticks),
            last=_link(names.slots[-1], life.recent[-1].block) if life.recent else None,
            fees=life.fees,
            verified=life.verified,
            audit_from=life.audit_from,
        )
    return PoolRow(LAYOUT, names.listing, row, pool.story, dict(positions))


def chain_changes(
    before: CanonicalChain, after: CanonicalChain, slots: Slots, positions: Positions
) -> tuple[Rows, Slots]:
    """Also the slots of the heads once the rows are written."""
    kept, slot, slots = added(before.heads, after.heads, slots)
    written: Rows = {headers_key(slot): _encode(after.heads[kept:])} if kept < len(after.heads) else {}
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
    return written, slots


def unlisted_changes(pool_id: PoolId, unlisted: UnlistedPool | None, positions: Positions) -> Rows:
    row = UnlistedRow(LAYOUT, unlisted, positions.get("chain", -1)) if unlisted else None
    return {UNLISTED + pool_id.encode(): _encode(row) if row else None}
