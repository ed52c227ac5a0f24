"""What each record of the three topics does to a partition's pools. Pure."""

import msgspec

from protocols import folding
from protocols.dex import PoolState
from protocols.types import Block, PoolId
from streams.kafka.records import ChainRecord, Listed, Snapshot, SnapshotRecord, Update
from tables import chain as chains
from tables import pool as pools
from tables import snapshots, unlisted
from tables.chain import BlockCompleted, CanonicalChain, Invalidated, Rewound, Started, UndecodableUpdate
from tables.live import Live
from tables.partition import Changes
from tables.pool import PendingBlock, Reason, Waiting, WaitingKind
from tables.unlisted import UnlistedPool


def fold_listing(changes: Changes, pool_id: PoolId, record: Listed | None, offset: int) -> None:
    """None takes the pool off the list: it is forgotten everywhere."""
    partition = changes.partition
    if partition.has_read(pool_id, "whitelist", offset):
        return
    known = partition.pools.get(pool_id)
    if record is None:
        _remove(changes, pool_id)
    elif known is None:
        _add(changes, pool_id, record)
    else:
        after = pools.relist(known, record, partition.head)
        changes.put(pool_id, after)
        if after.life is not known.life:
            partition.ahead.pop(pool_id, None)


def _remove(changes: Changes, pool_id: PoolId) -> None:
    """Also of a pool that is not known: a crash may have come after its row was deleted."""
    partition = changes.partition
    partition.ahead.pop(pool_id, None)
    if pool_id in partition.pools:
        changes.put(pool_id, None)
    kept_since = partition.next_block
    changes.put_unlisted(pool_id, UnlistedPool(since=kept_since) if kept_since > partition.chain.since else None)


def _add(changes: Changes, pool_id: PoolId, record: Listed) -> None:
    """Records that came before the listing count as if they had come after it."""
    chain = changes.partition.chain
    early = changes.partition.unlisted.get(pool_id, UnlistedPool())
    pool = pools.new_pool(record, max(chain.since, early.since), early.pending)
    if early.snapshot:
        pool = snapshots.take(pool, early.snapshot, chain)
    changes.put(pool_id, pool)
    changes.put_unlisted(pool_id, None)


def fold_chain(changes: Changes, record: ChainRecord | UndecodableUpdate, offset: int) -> None:
    partition = changes.partition
    if offset <= partition.positions.get("chain", -1):
        return
    partition.chain, steps = chains.follow(partition.chain, record)
    for step in steps:
        match step:
            case BlockCompleted():
                _apply_block(changes, step, offset)
            case Rewound(ancestor):
                _rewind(changes, ancestor, offset)
            case Invalidated(last, reason):
                _invalidate_all(changes, last, reason, offset)
            case Started(first):
                changes.put_all("chain", offset, lambda pool: pools.start(pool, first))
    partition.chain_offset = offset


def _apply_block(changes: Changes, step: BlockCompleted, offset: int) -> None:
    partition = changes.partition
    for pool_id, events in step.events.items():
        pool = partition.pools.get(pool_id)
        if pool is None:
            early = partition.unlisted.get(pool_id, UnlistedPool())
            block = PendingBlock(step.block, folding.compact(events))
            changes.put_unlisted(pool_id, unlisted.with_block(early, block))
        elif not partition.has_read(pool_id, "chain", offset):
            after = pools.apply(pool, step.block, events, partition.memory_blocks)
            changes.put(pool_id, after)
            if isinstance(pool.life, Live) and isinstance(after.life, Waiting):
                changes.reject(offset, Update(pool_id, step.block, events), str(after.life.reason))
    for pool_id in step.undecodable:
        _skip_undecodable(changes, pool_id, step.block, offset)
    for pool_id in sorted(partition.holding):
        if not partition.has_read(pool_id, "chain", offset):
            changes.put(pool_id, snapshots.release(partition.pools[pool_id], partition.chain))
    _trim_unlisted(changes)


def _skip_undecodable(changes: Changes, pool_id: PoolId, block: Block, offset: int) -> None:
    partition = changes.partition
    pool = partition.pools.get(pool_id)
    if pool is None:
        early = partition.unlisted.get(pool_id, UnlistedPool())
        changes.put_unlisted(pool_id, UnlistedPool(snapshot=early.snapshot, since=block.number + 1))
    elif not partition.has_read(pool_id, "chain", offset):
        detail = f"an update of block {block.number} could not be decoded"
        changes.put(pool_id, pools.invalidate(pool, block.number, Reason(WaitingKind.DEAD_LETTER, detail)))


def _trim_unlisted(changes: Changes) -> None:
    """Records of pools that are not listed are kept as long as the chain remembers their block."""
    partition = changes.partition
    first = max(partition.chain.since, partition.next_block - partition.chain.memory)
    partition.chain = msgspec.structs.replace(partition.chain, since=first)
    for pool_id, early in list(partition.unlisted.items()):
        changes.put_unlisted(pool_id, unlisted.trim(early, first))


def _rewind(changes: Changes, ancestor: Block, offset: int) -> None:
    changes.put_all("chain", offset, lambda pool: pools.rewind(pool, ancestor))
    for pool_id, early in list(changes.partition.unlisted.items()):
        changes.put_unlisted(pool_id, unlisted.rewind(early, ancestor.number))


def _invalidate_all(changes: Changes, last: int, reason: Reason, offset: int) -> None:
    changes.put_all("chain", offset, lambda pool: pools.invalidate(pool, last, reason))
    for pool_id, early in list(changes.partition.unlisted.items()):
        changes.put_unlisted(pool_id, unlisted.invalidate(early))


def fold_missing_chain(changes: Changes, detail: str, offset: int) -> None:
    """Records of `chain` up to that offset cannot be had: every pool needs a snapshot."""
    chain, head = changes.partition.chain, changes.partition.head or 0
    changes.partition.chain = CanonicalChain(chain.memory, since=head + 1, term=chain.term)
    _invalidate_all(changes, head, Reason(WaitingKind.GAP, detail), offset)


def fold_snapshot(changes: Changes, record: SnapshotRecord, offset: int, state: PoolState | None = None) -> None:
    """`state` is the snapshot's, where it was checked already as one of the listed pool."""
    partition = changes.partition
    pool = partition.pools.get(record.pool)
    if partition.has_read(record.pool, "snapshots", offset):
        return
    if pool is None:
        if isinstance(record, Snapshot):
            early = partition.unlisted.get(record.pool, UnlistedPool())
            changes.put_unlisted(record.pool, unlisted.with_snapshot(early, record))
        return
    if partition.is_ahead(record.pool):
        after = snapshots.hold(pool, record, state) if isinstance(record, Snapshot) else pool
    elif isinstance(record, Snapshot):
        after = snapshots.take(pool, record, partition.chain, state)
    else:
        after = snapshots.unreadable(pool, record)
    changes.put(record.pool, after)
    if after.story.inconsistent > pool.story.inconsistent:
        changes.reject(offset, record, after.story.last_rejection or "")


def invalidate(changes: Changes, pool_id: PoolId, reason: Reason) -> None:
    """The pool's state cannot be relied on, for a reason outside the records."""
    partition = changes.partition
    if pool := partition.pools.get(pool_id):
        partition.ahead.pop(pool_id, None)
        changes.put(pool_id, pools.invalidate(pool, partition.next_block - 1, reason))
