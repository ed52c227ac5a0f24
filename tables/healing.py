"""A partition as its rows have it, healed where a crash left them written in part. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import msgspec

from protocols import folding
from protocols.dex import PoolState
from protocols.ticks import InvariantViolation, LiquidityChange, Ticks, change_end, changed, from_ticks, word_of
from protocols.types import PoolId
from streams.kafka.records import Header
from tables import rows
from tables.chain import CanonicalChain
from tables.fold import invalidate
from tables.live import AppliedBlock, Base, Live
from tables.partition import Changes, Partition
from tables.pool import HeldSnapshot, Pool, Reason, Waiting, WaitingKind
from tables.rows import Get, LiveRow, PoolRow, Positions, Scan, TicksRow, WaitingRow
from tables.unlisted import UnlistedPool

T = TypeVar("T")


class StoredPool(msgspec.Struct, frozen=True):
    pool: Pool
    positions: Positions
    orphans: tuple[bytes, ...]
    """Keys of its tick rows that belong to no state any more."""
    before: Pool | None
    """The pool with the ticks as they are stored; where they are not those of `pool`, they are written again."""


class Loaded(NamedTuple):
    changes: Changes
    """The partition, with the repairs that are still to be written."""
    invalidated: dict[PoolId, str]
    """Pools whose rows cannot be read or contradict each other, and how: they wait for a snapshot."""
    forgotten: str | None
    """Why the rows of the whole partition are not used, so that every pool waits; None where they are."""


class OtherLayout(Exception):
    """The partition's rows cannot be read by this version."""


def load(memory_blocks: int, get: Get, scan: Scan) -> Loaded:
    """Never fails for what a row holds: at worst every pool of the partition asks for a snapshot."""
    partition = Partition(memory_blocks)
    try:
        partition.chain, partition.positions = _stored_chain(partition.chain.memory, get, scan)
        partition.chain_offset = partition.positions.get("chain", -1)
        partition.unlisted = dict(_stored_unlisted(partition, scan))
    except OtherLayout as error:
        return _load_listings(Changes(Partition(memory_blocks)), str(error), scan)
    changes = Changes(partition)
    invalidated: dict[PoolId, str] = {}
    for key, value in list(scan(rows.POOLS)):
        try:
            _load_pool(changes, stored_pool(_decode(rows.decode_pool, value), get, scan))
        except (OtherLayout, InvariantViolation) as error:
            invalidated[PoolId(key.decode())] = str(error)
            _load_listing(changes, key, value, str(error), scan)
    changes.delete(_orphans(partition, scan))
    return Loaded(changes, invalidated, None)


def _load_listings(changes: Changes, detail: str, scan: Scan) -> Loaded:
    pools = list(scan(rows.POOLS))
    for key, value in pools:
        _load_listing(changes, key, value, detail, scan)
    changes.delete(key for key, _ in scan(rows.UNLISTED))
    changes.delete(_orphans(changes.partition, scan))
    return Loaded(changes, {PoolId(key.decode()): detail for key, _ in pools}, detail)


def _load_listing(changes: Changes, key: bytes, value: bytes, detail: str, scan: Scan) -> None:
    """The pool stays on the list and waits; the bridge repeats the whole list for one whose listing is unreadable."""
    pool_id = PoolId(key.decode())
    try:
        listed = _decode(rows.decode_listing, value).listed
    except OtherLayout:
        changes.delete([key])
        return
    reason = Reason(WaitingKind.STORED_ROWS, detail)
    pool = Pool(listed, Waiting(reason, 0))
    orphans = *_ticks_rows(pool_id, scan), rows.held_key(pool_id)
    _load_pool(changes, StoredPool(pool, {}, orphans, None))
    invalidate(changes, pool_id, reason)


def _decode(decode: Callable[[bytes], T], value: bytes) -> T:
    try:
        return decode(value)
    except ValueError as error:  # msgspec's own, and UnicodeDecodeError
        raise OtherLayout(f"a row is not of layout {rows.LAYOUT}: {error}") from error


def _load_pool(changes: Changes, stored: StoredPool) -> None:
    partition, pool_id = changes.partition, stored.pool.listed.pool.id
    partition.set_pool(pool_id, stored.pool)
    changes.put_unlisted(pool_id, None)
    changes.delete(stored.orphans)
    if stored.before is not stored.pool:
        changes.rewrite(pool_id, stored.before)
    if any(offset > partition.positions.get(source, -1) for source, offset in stored.positions.items()):
        partition.ahead[pool_id] = stored.positions


def stored_pool(row: PoolRow, get: Get, scan: Scan) -> StoredPool:
    """Raises InvariantViolation where the pool's rows contradict each other, OtherLayout where one is unreadable."""
    pool_id = row.listed.pool.id
    held = get(rows.held_key(pool_id))
    found = _ticks_rows(pool_id, scan)
    snapshot = HeldSnapshot(_decode(rows.decode_snapshot, held)) if held else None
    if isinstance(row.life, WaitingRow):
        waiting = Waiting(row.life.reason, row.life.since, row.life.pending, row.life.ask_from)
        pool = Pool(row.listed, waiting, snapshot, row.story)
        return StoredPool(pool, row.positions, tuple(found), pool)
    prefix = rows.ticks_prefix(pool_id, rows.snapshot_id(row.life.reference, row.story))
    parts = [_decode(rows.decode_ticks, value) for key, value in found.items() if key.startswith(prefix)]
    stored = from_ticks(row.listed.pool.tick_spacing or 1, (tick for part in parts for tick in part.ticks))
    life = _live(row.life, _undo_after_base(row.life, stored, parts))
    pool = before = Pool(row.listed, life, snapshot, row.story)
    if life.base.ticks is not stored:
        base = msgspec.structs.replace(life.base, ticks=stored)
        before = msgspec.structs.replace(pool, life=msgspec.structs.replace(life, base=base))
    orphans = tuple(key for key in found if not key.startswith(prefix))
    return StoredPool(pool, row.positions, orphans, before)


def _ticks_rows(pool_id: PoolId, scan: Scan) -> dict[bytes, bytes]:
    return dict(scan(rows.ticks_prefix(pool_id)))


def _orphans(partition: Partition, scan: Scan) -> list[bytes]:
    """Keys that a crash left behind: of pools that are off the list, and of blocks that are not on the chain."""
    known = {rows.header_key(header) for header in partition.chain.heads}
    headers = [key for key, _ in scan(rows.HEADERS) if key not in known]
    of_pools = [key for prefix in (rows.TICKS, rows.HELD) for key, _ in scan(prefix)]
    return headers + [key for key in of_pools if PoolId(key.split(b"/")[1].decode()) not in partition.pools]


def _live(row: LiveRow, ticks: Ticks) -> Live:
    """`ticks` are those at the base. Raises InvariantViolation where they are not the pool's."""
    if len(ticks) != row.tick_count:
        raise InvariantViolation(f"{len(ticks)} of {row.tick_count} ticks are stored")
    folding.check(PoolState(row.base_price, ticks))
    head = ticks
    for change in _liquidity_changes(row.recent):
        head = changed(head, change)
    base = Base(row.base_block, row.base_price, ticks)
    return Live(row.reference, base, row.recent, head, row.fees, row.verified, row.audit_from)


def _undo_after_base(row: LiveRow, stored: Ticks, parts: list[TicksRow]) -> Ticks:
    """The ticks at the base: a crash came between tick rows and head, so some words are folded up to a later block."""
    ahead = {part.word: part.folded for part in parts if part.folded.number > row.base_block.number}
    if not ahead:
        return stored
    remembered = {applied.block for applied in row.recent}
    if unknown := [block for block in ahead.values() if block not in remembered]:
        raise InvariantViolation(f"ticks are folded up to {unknown[0]}, which the pool does not remember")
    words = dict(stored.parts)
    for applied in reversed(row.recent):
        for change in reversed(tuple(_liquidity_changes([applied]))):
            for tick, net in ((change.tick_upper, change.delta), (change.tick_lower, -change.delta)):
                word = word_of(tick, stored.spacing)
                if word in ahead and applied.block.number <= ahead[word].number:
                    change_end(words, word, tick, -change.delta, net)
    return Ticks(stored.spacing, words)


def _liquidity_changes(blocks: Iterable[AppliedBlock]) -> Iterator[LiquidityChange]:
    return (event for each in blocks for event in each.events if isinstance(event, LiquidityChange))


def _stored_chain(memory: int, get: Get, scan: Scan) -> tuple[CanonicalChain, dict[str, int]]:
    value = get(rows.CHAIN)
    if value is None:
        return CanonicalChain(memory), {}
    row = _decode(rows.decode_chain, value)
    by_hash = {header.hash: header for header in (_decode(rows.decode_header, each) for _, each in scan(rows.HEADERS))}
    if row.head is not None and row.head not in by_hash:
        raise OtherLayout(f"the header {row.head} of the last head is not stored")
    heads: list[Header] = []
    head = by_hash.get(row.head or "")
    while head is not None and len(heads) < memory and (not heads or head.number == heads[-1].number - 1):
        heads.append(head)
        head = by_hash.get(head.parent)
    chain = CanonicalChain(
        memory,
        tuple(reversed(heads)),
        row.partial,
        row.undecodable,
        row.since,
        row.term,
        row.finality,
        row.chain_id,
    )
    return chain, row.positions


def _stored_unlisted(partition: Partition, scan: Scan) -> Iterator[tuple[PoolId, UnlistedPool]]:
    """One that is ahead of the chain keeps nothing: the blocks after the head come again."""
    for key, value in scan(rows.UNLISTED):
        row = _decode(rows.decode_unlisted, value)
        ahead = row.chain_offset > partition.positions.get("chain", -1)
        pool_id = PoolId(key.removeprefix(rows.UNLISTED).decode())
        yield pool_id, UnlistedPool(since=partition.next_block) if ahead else row.unlisted
