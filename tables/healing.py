"""A partition as its rows have it, healed where a crash left them written in part. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from protocols import concentrated
from protocols.concentrated import Price
from protocols.events import LiquidityChange
from protocols.ticks import InvariantViolation, Ticks, change_end, changed, from_ticks, word_of
from protocols.types import PoolId
from streams.kafka.records import Header
from tables import rows
from tables.chain import CanonicalChain
from tables.fold import invalidate
from tables.live import AppliedBlock, Base, Live
from tables.partition import Changes, Partition
from tables.pool import Pool, Reason, Waiting, WaitingKind
from tables.rows import Get, LiveRow, PoolRow, Positions, Scan, TicksRow, WaitingRow
from tables.unlisted import UnlistedPool


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
    invalidated: list[tuple[PoolId, str]]
    """Pools whose rows contradict each other, and how: they wait for a snapshot."""


def load(memory_blocks: int, get: Get, scan: Scan) -> Loaded:
    partition = Partition(memory_blocks)
    partition.chain, partition.positions = _stored_chain(partition.chain.memory, get, scan)
    partition.chain_offset = partition.positions.get("chain", -1)
    partition.unlisted = dict(_stored_unlisted(partition, scan))
    changes = Changes(partition)
    invalidated = []
    for key, value in list(scan(rows.POOLS)):
        pool_id, row = PoolId(key.decode()), rows.decode_pool(value)
        try:
            _load_pool(changes, stored_pool(row, get, scan))
        except InvariantViolation as violation:
            invalidated.append((pool_id, str(violation)))
            waiting = Waiting(Reason(WaitingKind.STORED_ROWS, str(violation)), 0)
            orphans = tuple(_ticks_rows(pool_id, scan))
            _load_pool(changes, StoredPool(Pool(row.listed, waiting, None, row.story), row.positions, orphans, None))
            invalidate(changes, pool_id, waiting.reason)
    changes.delete(_orphans(partition, scan))
    return Loaded(changes, invalidated)


def _load_pool(changes: Changes, stored: StoredPool) -> None:
    partition, pool_id = changes.partition, stored.pool.listed.pool.id
    partition.pools[pool_id] = stored.pool
    changes.put_unlisted(pool_id, None)
    changes.delete(stored.orphans)
    if stored.before is not stored.pool:
        changes.rewrite(pool_id, stored.before)
    if any(offset > partition.positions.get(source, -1) for source, offset in stored.positions.items()):
        partition.ahead[pool_id] = stored.positions


def stored_pool(row: PoolRow, get: Get, scan: Scan) -> StoredPool:
    """Raises InvariantViolation where the pool's rows contradict each other."""
    pool_id = row.listed.pool.id
    held = get(rows.held_key(pool_id))
    found = _ticks_rows(pool_id, scan)
    snapshot = rows.decode_snapshot(held) if held else None
    if isinstance(row.life, WaitingRow):
        waiting = Waiting(row.life.reason, row.life.since, row.life.pending)
        pool = Pool(row.listed, waiting, snapshot, row.story)
        return StoredPool(pool, row.positions, tuple(found), pool)
    prefix = rows.ticks_prefix(pool_id, rows.snapshot_id(row.life.reference, row.story))
    parts = [rows.decode_ticks(value) for key, value in found.items() if key.startswith(prefix)]
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
    if isinstance(row.base_price, Price):
        concentrated.check_whole(row.base_price, ticks)
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
    row = rows.decode_chain(value)
    by_hash = {header.hash: header for header in (rows.decode_header(each) for _, each in scan(rows.HEADERS))}
    heads: list[Header] = []
    head = by_hash.get(row.head or "")
    while head is not None and len(heads) < memory and (not heads or head.number == heads[-1].number - 1):
        heads.append(head)
        head = by_hash.get(head.parent)
    chain = CanonicalChain(memory, tuple(reversed(heads)), row.partial, row.undecodable, row.since, row.term)
    return chain, row.positions


def _stored_unlisted(partition: Partition, scan: Scan) -> Iterator[tuple[PoolId, UnlistedPool]]:
    """One that is ahead of the chain keeps nothing: the blocks after the head come again."""
    for key, value in scan(rows.UNLISTED):
        row = rows.decode_unlisted(value)
        ahead = row.chain_offset > partition.positions.get("chain", -1)
        yield (
            PoolId(key.removeprefix(rows.UNLISTED).decode()),
            UnlistedPool(since=partition.next_block) if ahead else row.unlisted,
        )
