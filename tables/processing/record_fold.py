"""Decodes one record of a source topic and folds it into a partition; handles what cannot be decoded."""

import asyncio
from functools import lru_cache

from aiokafka import ConsumerRecord

from protocols import folding
from protocols.dex import PoolState
from protocols.ticks import InvariantViolation
from protocols.types import PoolId, pool_id
from streams.kafka import records
from streams.kafka.quotation import to_text
from streams.kafka.records import SnapshotRecord, Undecodable
from tables.chain import UndecodableUpdate
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.partition import Changes, Source
from tables.pool import Pool


class Misdirected(Undecodable):
    """The record and its key name different pools, and neither can be trusted."""

    def __init__(self, key: PoolId, pool: PoolId) -> None:
        super().__init__(f"the key is {key}, the record is of {pool}")


def fold_record(changes: Changes, source: Source, record: ConsumerRecord) -> Undecodable | None:
    """Returns the error of a record that cannot be decoded.

    An undecodable update invalidates its pool; a misdirected one is missed by the Head of its block.
    """
    try:
        _fold(changes, source, record)
    except Undecodable as error:
        pool = pool_id(to_text(record.key))
        if pool and source == "chain" and not isinstance(error, Misdirected):
            fold_chain(changes, UndecodableUpdate(pool), record.offset)
        return error
    return None


async def fold_large_snapshot(changes: Changes, record: ConsumerRecord) -> Undecodable | None:
    """As `fold_record`; a snapshot of many ticks is decoded and checked in a thread, so that the loop turns on."""
    pool_id_ = pool_id(to_text(record.key))
    pool = changes.partition.pools.get(pool_id_) if pool_id_ else None
    try:
        snapshot = await asyncio.to_thread(records.decode_snapshot, record.value)
        _checked_key(record.key, snapshot.pool)
        state = await asyncio.to_thread(_checked_state, pool, snapshot) if pool else None
    except Undecodable as error:
        return error
    fold_snapshot(changes, snapshot, record.offset, state)
    return None


def _checked_state(pool: Pool, snapshot: SnapshotRecord) -> PoolState | None:
    """None where the snapshot is no state of the pool: it is checked again, and rejected, where it is folded."""
    if not isinstance(snapshot, records.Snapshot):
        return None
    try:
        return folding.from_snapshot(pool.listed.pool, snapshot.state)
    except InvariantViolation:
        return None


def _fold(changes: Changes, source: Source, record: ConsumerRecord) -> None:
    key, value, offset = record.key, record.value, record.offset
    match source:
        case "whitelist":
            listed = records.decode_listed(value) if value else None
            fold_listing(changes, _checked_key(key, listed.pool.id if listed else None), listed, offset)
        case "chain":
            of_chain = records.decode_chain(value or b"")
            if isinstance(of_chain, records.Update):
                _checked_key(key, of_chain.pool)
            fold_chain(changes, of_chain, offset)
        case "snapshots":
            snapshot = records.decode_snapshot(value or b"")
            _checked_key(key, snapshot.pool)
            fold_snapshot(changes, snapshot, offset)


def _checked_key(key: bytes | None, expected: PoolId | None) -> PoolId:
    pool = _pool_of_key(key)
    if pool is None:
        raise Undecodable(f"the key {to_text(key)!r} is not a pool's id")
    if expected is not None and pool != expected:
        raise Misdirected(pool, expected)
    return pool


@lru_cache(maxsize=1 << 16)
def _pool_of_key(key: bytes | None) -> PoolId | None:
    return pool_id(to_text(key))
