"""A partition as its rows have it, healed where a crash left them written in part. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from protocols import folding
from protocols.dex import PoolState
from protocols.ticks import InvariantViolation, LiquidityChange, Ticks, change_end, from_ticks, word_of
from protocols.types import Block, PoolId
from streams.kafka.records import Header, Listed
from tables import rows
from tables.chain import CanonicalChain
from tables.fold import invalidate
from tables.live import AppliedBlock, Base, Live
from tables.partition import Changes, Partition
from tables.pool import HeldSnapshot, Pool, Reason, Waiting, WaitingKind
from tables.ring import remembered
from tables.row_changes import PoolNames
from tables.rows import (
    Get,
    LiveRow,
    OtherLayout,
    PoolRow,
    Positions,
    RowsOfPool,
    Scan,
    StoredBlock,
    TicksRow,
    WaitingRow,
)
from tables.unlisted import UnlistedPool


class StoredPool(msgspec.Struct, frozen=True):
    pool: Pool
    positions: Positions
    names: PoolNames
    orphans: tuple[bytes, ...]
    """Keys of its rows that belong to no state any more."""
    before: Pool | None
    """The pool with the ticks as they are stored; where they are not those of `pool`, they are written again."""


class Loaded(NamedTuple):
    changes: Changes
    """The partition, with the repairs that are still to be written."""
    invalidated: dict[PoolId, str]
    """Pools whose rows cannot be read or contradict each other, and how: they wait for a snapshot."""
    forgotten: str | None
    """Why the rows of the whole partition are not used, so that every pool waits; None where they are."""


def load(memory_blocks: int, get: Get, scan: Scan) -> Loaded:
    """Never fails for what a row holds: at worst every pool of the partition asks for a snapshot."""
    partition, forgotten = Partition(memory_blocks), None
    invalidated: dict[PoolId, str] = {}
    try:
        _load_chain(partition, get, scan)
        partition.unlisted = dict(_stored_unlisted(partition, scan))
    except OtherLayout as error:
        partition, forgotten = Partition(memory_blocks), str(error)
    changes = Changes(partition)
    if forgotten:
        changes.delete(key for prefix in (rows.UNLISTED, rows.HEADERS) for key, _ in scan(prefix))
    by_pool = _rows_by_pool(scan)
    for key, value in list(scan(rows.POOLS)):
        of_pool = by_pool.pop(pool_id := PoolId(key.decode()), {})
        if why := forgotten or _load_rows(changes, pool_id, value, of_pool):
            invalidated[pool_id] = why
            _load_listing(changes, key, value, why, of_pool)
    changes.delete(key for orphans in by_pool.values() for key in orphans)
    return Loaded(changes, invalidated, forgotten)


def _load_rows(changes: Changes, pool_id: PoolId, value: bytes, of_pool: RowsOfPool) -> str | None:
    """Why the pool's rows are not used; None where they are."""
    try:
        _load_pool(changes, stored_pool(pool_id, rows.decode(rows.decode_pool, value), of_pool))
    except (OtherLayout, InvariantViolation) as error:
        return str(error)
    return None


def _rows_by_pool(scan: Scan) -> dict[PoolId, dict[bytes, bytes]]:
    """Beyond the head records."""
    found: dict[PoolId, dict[bytes, bytes]] = {}
    for prefix in (rows.LISTINGS, rows.RING, rows.TICKS, rows.HELD):
        for key, value in scan(prefix):
            found.setdefault(rows.pool_of(key), {})[key] = value
    return found


def _load_listing(changes: Changes, key: bytes, value: bytes, detail: str, of_pool: RowsOfPool) -> None:
    """The pool stays on the list and waits; the bridge repeats the whole list for one whose listing is unreadable."""
    pool_id = PoolId(key.decode())
    listed = _any_listing(value, of_pool)
    if listed is None:
        changes.delete([key, *of_pool])
        return
    reason = Reason(WaitingKind.STORED_ROWS, detail)
    orphans = tuple(each for each in of_pool if not each.startswith(rows.RING))
    pool = Pool(listed, Waiting(reason, 0))
    _load_pool(changes, StoredPool(pool, {}, PoolNames(ring_size=_ring_size(of_pool)), orphans, None))
    invalidate(changes, pool_id, reason)


def _any_listing(value: bytes, of_pool: RowsOfPool) -> Listed | None:
    """Of two listings that a crash left, either will do: the bridge repeats the whole list."""
    listings = [row for key, row in of_pool.items() if key.startswith(rows.LISTINGS)]
    try:
        return (
            rows.decode(rows.decode_listing, listings[-1])
            if listings
            else rows.decode(rows.decode_old_pool, value).listed
        )
    except OtherLayout:
        return None


def _load_pool(changes: Changes, stored: StoredPool) -> None:
    partition, pool_id = changes.partition, stored.pool.listed.pool.id
    partition.set_pool(pool_id, stored.pool)
    partition.names[pool_id] = stored.names
    changes.put_unlisted(pool_id, None)
    changes.delete(stored.orphans)
    if stored.before is not stored.pool:
        changes.rewrite(pool_id, stored.before)
    if any(offset > partition.positions.get(source, -1) for source, offset in stored.positions.items()):
        partition.ahead[pool_id] = stored.positions


def stored_pool(pool_id: PoolId, row: PoolRow, of_pool: RowsOfPool) -> StoredPool:
    """Raises InvariantViolation where the pool's rows contradict each other, OtherLayout where one is unreadable."""
    listing_key = rows.listing_key(pool_id, row.listing)
    if listing_key not in of_pool:
        raise InvariantViolation(f"the listing {row.listing} is not stored")
    listed = rows.decode(rows.decode_listing, of_pool[listing_key])
    held = of_pool.get(rows.held_key(pool_id))
    snapshot = HeldSnapshot(rows.decode(rows.decode_snapshot, held)) if held else None
    others = tuple(key for key in of_pool if key.startswith(rows.LISTINGS) and key != listing_key)
    if isinstance(row.life, WaitingRow):
        waiting = Waiting(row.life.reason, row.life.since, row.life.pending, row.life.ask_from)
        pool = Pool(listed, waiting, snapshot, row.story)
        ticks = tuple(key for key in of_pool if key.startswith(rows.TICKS))
        names = PoolNames(row.listing, (), _ring_size(of_pool))
        return StoredPool(pool, row.positions, names, others + ticks, pool)
    prefix = rows.ticks_prefix(pool_id, rows.snapshot_id(row.life.reference, row.story))
    parts = [rows.decode(rows.decode_ticks, value) for key, value in of_pool.items() if key.startswith(prefix)]
    stored = from_ticks(listed.pool.tick_spacing or 1, (tick for part in parts for tick in part.ticks))
    memory, slots = remembered(pool_id, row.life, of_pool)
    life = _live(row.life, memory, _undo_after_base(row.life.base_block, memory, stored, parts))
    pool = before = Pool(listed, life, snapshot, row.story)
    if life.base.state.ticks is not stored:
        base = Base(life.base.block, PoolState(life.base.state.price, stored))
        before = msgspec.structs.replace(pool, life=msgspec.structs.replace(life, base=base))
    orphans = tuple(key for key in of_pool if key.startswith(rows.TICKS) and not key.startswith(prefix))
    names = PoolNames(row.listing, slots, _ring_size(of_pool))
    return StoredPool(pool, row.positions, names, others + orphans, before)


def _ring_size(of_pool: RowsOfPool) -> int:
    return max((int(key.rsplit(b"/", 1)[1]) + 1 for key in of_pool if key.startswith(rows.RING)), default=0)


def _live(row: LiveRow, memory: Iterable[StoredBlock], ticks: Ticks) -> Live:
    """`ticks` are those at the base. Raises InvariantViolation where they, or the memory, are not the pool's."""
    if len(ticks) != row.tick_count:
        raise InvariantViolation(f"{len(ticks)} of {row.tick_count} ticks are stored")
    state = PoolState(row.base_price, ticks)
    folding.check(state)
    base = Base(row.base_block, state)
    recent = []
    for stored in memory:
        before, state = state, folding.apply(state, stored.events)
        recent.append(AppliedBlock(stored.block, stored.events, before, state))
    return Live(row.reference, base, tuple(recent), row.fees, row.verified, row.audit_from)


def _undo_after_base(base: Block, memory: tuple[StoredBlock, ...], stored: Ticks, parts: list[TicksRow]) -> Ticks:
    """The ticks at the base: a crash came between tick rows and head, so some rows are folded up to a later block."""
    ahead = {part.number: part.folded for part in parts if part.folded.number > base.number}
    if not ahead:
        return stored
    blocks = {each.block for each in memory}
    if unknown := [block for block in ahead.values() if block not in blocks]:
        raise InvariantViolation(f"ticks are folded up to {unknown[0]}, which the pool does not remember")
    undone = dict(stored.parts)
    for block in reversed(memory):
        for change in reversed([event for event in block.events if isinstance(event, LiquidityChange)]):
            for tick, net in ((change.tick_upper, change.delta), (change.tick_lower, -change.delta)):
                number = rows.ticks_row_of(tick, stored.spacing)
                if number in ahead and block.number <= ahead[number].number:
                    change_end(undone, word_of(tick, stored.spacing), tick, -change.delta, net)
    return Ticks(stored.spacing, undone)


def _load_chain(partition: Partition, get: Get, scan: Scan) -> None:
    """Raises OtherLayout."""
    value = get(rows.CHAIN)
    if value is None:
        return
    row, memory = rows.decode(rows.decode_chain, value), partition.chain.memory
    by_hash = {
        header.hash: (header, int(key.removeprefix(rows.HEADERS)))
        for key, headers in scan(rows.HEADERS)
        for header in rows.decode(rows.decode_headers, headers)
    }
    if row.head is not None and row.head not in by_hash:
        raise OtherLayout(f"the header {row.head} of the last head is not stored")
    heads: list[Header] = []
    slots: list[int] = []
    found = by_hash.get(row.head or "")
    while found is not None and len(heads) < memory and (not heads or found[0].number == heads[-1].number - 1):
        heads.append(found[0])
        slots.append(found[1])
        found = by_hash.get(found[0].parent)
    partition.chain = CanonicalChain(
        memory,
        tuple(reversed(heads)),
        row.partial,
        row.undecodable,
        row.since,
        row.term,
        row.finality,
        row.chain_id,
    )
    partition.head_slots = tuple(reversed(slots))
    partition.positions = row.positions
    partition.chain_offset = row.positions.get("chain", -1)


def _stored_unlisted(partition: Partition, scan: Scan) -> Iterator[tuple[PoolId, UnlistedPool]]:
    """One that is ahead of the chain keeps nothing: the blocks after the head come again."""
    for key, value in scan(rows.UNLISTED):
        row = rows.decode(rows.decode_unlisted, value)
        ahead = row.chain_offset > partition.positions.get("chain", -1)
        pool_id = PoolId(key.removeprefix(rows.UNLISTED).decode())
        yield pool_id, UnlistedPool(since=partition.next_block) if ahead else row.unlisted
