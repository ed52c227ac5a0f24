"""A pool's life: Waiting for a snapshot, or Live, and what listings, blocks and reorgs make of it. Pure."""

from enum import StrEnum

import msgspec

from protocols import folding
from protocols.dex import PoolState
from protocols.registry import Event
from protocols.ticks import InvariantViolation
from protocols.types import Block
from streams.kafka.records import Listed, Snapshot
from tables.fees import without_after
from tables.live import Live, advance_base, append_block, drop_after

PENDING_BLOCKS = 256
"""Blocks with events that are kept for a waiting pool; beyond them the oldest goes and `since` moves up."""


class WaitingKind(StrEnum):
    LISTED = "listed"
    UNINITIALIZED = "uninitialised"
    GAP = "gap"
    REORG = "reorg"
    INVARIANT = "invariant"
    DEAD_LETTER = "dead letter"
    UNREADABLE = "unreadable"
    STORED_ROWS = "stored rows do not agree"
    OUTDATED = "outdated"
    DOES_NOT_FOLLOW_ITS_LOGS = "does_not_follow_its_logs"
    AHEAD = "ahead"


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a pool waits."""

    kind: WaitingKind
    detail: str = ""
    """A sentence with the facts, where there is more to say."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else str(self.kind)


class PendingBlock(msgspec.Struct, frozen=True):
    """The events of a block, kept until a snapshot shows whether they come after it."""

    block: Block
    events: tuple[Event, ...]


class Waiting(msgspec.Struct, frozen=True):
    reason: Reason
    since: int
    """All events of the pool from this block on are pending."""
    pending: tuple[PendingBlock, ...] = ()
    ask_from: int = 0
    """No snapshot is asked for, nor taken, before the head is at this block."""


class Story(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts since the pool was listed."""

    applied: int = 0
    """Blocks whose events were applied."""
    gated: int = 0
    """Blocks at or before the base, or applied already."""
    rewinds: int = 0
    snapshots: int = 0
    """Snapshots adopted as the base."""
    rejected: int = 0
    """Snapshots of another fork, too old, or inconsistent."""
    inconsistent: int = 0
    """Snapshots that break an invariant."""
    audits: int = 0
    divergences: int = 0
    divergences_in_row: int = 0
    """Audits that found a difference, without one after an event that found none, and without a reorg."""
    last_divergence: str | None = None
    last_rejection: str | None = None
    last_event_block: int | None = None


class HeldSnapshot(msgspec.Struct, frozen=True):
    """A snapshot ahead of the partition's head."""

    snapshot: Snapshot
    state: PoolState | None = None
    """The snapshot's state, where it was checked already."""

    @property
    def block(self) -> Block:
        return self.snapshot.block


class Pool(msgspec.Struct, frozen=True):
    listed: Listed
    life: Waiting | Live
    held: HeldSnapshot | None = None
    story: Story = Story()


def new_pool(record: Listed, since: int, pending: tuple[PendingBlock, ...] = ()) -> Pool:
    """All events of the pool from block `since` on are in `pending`."""
    since = max(record.from_block, since)
    kept = tuple(each for each in pending if each.block.number >= since)
    return Pool(record, Waiting(Reason(WaitingKind.LISTED), since, kept))


def relist(pool: Pool, record: Listed, head: int | None) -> Pool:
    """A repeated listing is a no-op, another description is taken over; another pool or a new listing starts anew."""
    old, new = pool.listed, record
    same = (old.pool.protocol, old.pool.tick_spacing, old.pool.factory, old.from_block) == (
        new.pool.protocol,
        new.pool.tick_spacing,
        new.pool.factory,
        new.from_block,
    )
    return msgspec.structs.replace(pool, listed=record) if same else new_pool(record, (head or 0) + 1)


def apply(pool: Pool, block: Block, events: tuple[Event, ...], memory: int) -> Pool:
    """The pool after a complete block on top of the head."""
    life = pool.life
    if isinstance(life, Waiting):
        return _keep(pool, life, PendingBlock(block, folding.compact(events)))
    if block.number <= life.last_block:
        return with_story(pool, gated=pool.story.gated + 1)
    try:
        life = advance_base(append_block(life, block, events), block.number - memory)
    except InvariantViolation as violation:
        return invalidate(pool, block.number, Reason(WaitingKind.INVARIANT, f"block {block.number}: {violation}"))
    story = msgspec.structs.replace(pool.story, applied=pool.story.applied + 1, last_event_block=block.number)
    return msgspec.structs.replace(pool, life=life, story=story)


def _keep(pool: Pool, waiting: Waiting, block: PendingBlock) -> Pool:
    number = block.block.number
    if number < waiting.since or (waiting.pending and number <= waiting.pending[-1].block.number):
        return with_story(pool, gated=pool.story.gated + 1)
    pending, since = (*waiting.pending, block), waiting.since
    if len(pending) > PENDING_BLOCKS:
        pending, since = pending[1:], pending[0].block.number + 1
    waiting = msgspec.structs.replace(waiting, since=since, pending=pending)
    return with_story(with_life(pool, waiting), last_event_block=number)


def rewind(pool: Pool, ancestor: Block) -> Pool:
    """The same object where the reorg does not concern the pool."""
    life = pool.life
    if isinstance(life, Waiting):
        return _rewind_waiting(pool, life, ancestor)
    if pool.story.divergences_in_row:
        pool = with_story(pool, divergences_in_row=0)
    if life.base.block.number > ancestor.number:
        detail = f"to block {ancestor.number}, below the base at block {life.base.block.number}"
        return invalidate(pool, ancestor.number, Reason(WaitingKind.REORG, detail))
    if life.verified and life.verified.number > ancestor.number:
        life = msgspec.structs.replace(life, verified=None)
    if len(fees := without_after(life.fees, ancestor.number)) < len(life.fees):
        life = msgspec.structs.replace(life, fees=fees, audit_from=ancestor.number + 1)
    if not life.recent or life.last_block <= ancestor.number:
        return pool if life is pool.life else with_life(pool, life)
    try:
        life = drop_after(life, ancestor.number)
    except InvariantViolation as violation:
        detail = f"blocks up to {ancestor.number} do not follow from the base: {violation}"
        return invalidate(pool, ancestor.number, Reason(WaitingKind.INVARIANT, detail))
    if not folding.is_initialized(life.price):
        return invalidate(pool, ancestor.number, Reason(WaitingKind.UNINITIALIZED))
    return with_story(with_life(pool, life), rewinds=pool.story.rewinds + 1, last_event_block=life.last_event_block)


def _rewind_waiting(pool: Pool, waiting: Waiting, ancestor: Block) -> Pool:
    """The successors of the ancestor come again, so all of their events will be kept."""
    since = max(pool.listed.from_block, min(waiting.since, ancestor.number + 1))
    pending = tuple(each for each in waiting.pending if each.block.number <= ancestor.number)
    if (since, len(pending)) == (waiting.since, len(waiting.pending)):
        return pool
    last = pending[-1].block.number if pending else None
    waiting = msgspec.structs.replace(waiting, since=since, pending=pending)
    return with_story(with_life(pool, waiting), last_event_block=last)


def invalidate(pool: Pool, last: int, reason: Reason) -> Pool:
    """The pool waits: its state up to block `last` is not known for sure.

    A pool that already waits because it does not follow its logs keeps that reason and the block it asks from.
    """
    since = max(pool.listed.from_block, last + 1)
    if isinstance(pool.life, Waiting) and pool.life.ask_from > since:
        return with_life(pool, msgspec.structs.replace(pool.life, since=since, pending=()))
    return with_life(pool, Waiting(reason, since))


def start(pool: Pool, first: int) -> Pool:
    """No events before block `first` were kept, and all from it on will be."""
    if isinstance(pool.life, Live):
        return pool
    return with_life(pool, msgspec.structs.replace(pool.life, since=max(pool.listed.from_block, first), pending=()))


def with_life(pool: Pool, life: Waiting | Live) -> Pool:
    return Pool(pool.listed, life, pool.held, pool.story)


def with_story(pool: Pool, **facts: int | str | None) -> Pool:
    return msgspec.structs.replace(pool, story=msgspec.structs.replace(pool.story, **facts))
