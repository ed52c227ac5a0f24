"""Records of a pool that is not listed, or not yet: kept, because the order between topics does not matter. Pure."""

import msgspec

from streams.kafka.records import Snapshot
from tables.pool import PendingBlock


class UnlistedPool(msgspec.Struct, frozen=True):
    pending: tuple[PendingBlock, ...] = ()
    snapshot: Snapshot | None = None
    """The newest record, not the newest block."""
    since: int = 0
    """No event of the pool from this block on is missing, as far as the chain knows."""


def with_snapshot(unlisted: UnlistedPool, snapshot: Snapshot) -> UnlistedPool:
    return UnlistedPool(unlisted.pending, snapshot, unlisted.since)


def with_block(unlisted: UnlistedPool, block: PendingBlock) -> UnlistedPool:
    """The same object where the block is there already."""
    if unlisted.pending and block.block.number <= unlisted.pending[-1].block.number:
        return unlisted
    return UnlistedPool((*unlisted.pending, block), unlisted.snapshot, unlisted.since)


def rewind(unlisted: UnlistedPool, ancestor: int) -> UnlistedPool:
    """The same object where the reorg does not concern it."""
    pending = tuple(each for each in unlisted.pending if each.block.number <= ancestor)
    since = min(unlisted.since, ancestor + 1)
    if (len(pending), since) == (len(unlisted.pending), unlisted.since):
        return unlisted
    return UnlistedPool(pending, unlisted.snapshot, since)


def invalidate(unlisted: UnlistedPool) -> UnlistedPool | None:
    """Its blocks are not known for sure; a snapshot alone can still serve."""
    return UnlistedPool((), unlisted.snapshot) if unlisted.snapshot else None


def trim(unlisted: UnlistedPool, first: int) -> UnlistedPool | None:
    """Without what lies before block `first`, the first that the chain remembers; None where nothing is left."""
    pending = tuple(each for each in unlisted.pending if each.block.number >= first)
    snapshot = unlisted.snapshot if unlisted.snapshot and unlisted.snapshot.block.number >= first - 1 else None
    if not pending and not snapshot and unlisted.since <= first:
        return None
    if (len(pending), snapshot) == (len(unlisted.pending), unlisted.snapshot):
        return unlisted
    return UnlistedPool(pending, snapshot, unlisted.since)
