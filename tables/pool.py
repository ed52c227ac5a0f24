"""How a pool lives: Waiting for a snapshot, or Live; what each thing that can happen makes of it. Pure."""

from collections.abc import Iterable

import msgspec

from protocols import folding
from protocols.events import Event
from protocols.folding import Fees, PoolState, PriceState
from protocols.ticks import InvariantViolation, Ticks
from protocols.types import Block
from streams.kafka.records import AUDIT, Listed, Snapshot, SnapshotRequest

PENDING_BLOCKS = 256
"""So many touched blocks are kept for a waiting pool; then the oldest goes and `since` moves up."""
AUDIT_AFTER_BLOCKS = 8
"""A pool that became live is compared with the chain once more so many blocks later (rule 11)."""


class Touched(msgspec.Struct, frozen=True):
    """A remembered block in which something happened to the pool."""

    block: Block
    events: tuple[Event, ...]
    after: PriceState


class Pending(msgspec.Struct, frozen=True):
    block: Block
    events: tuple[Event, ...]


class Base(msgspec.Struct, frozen=True):
    """The oldest state that can be gone back to."""

    block: Block
    price: PriceState
    ticks: Ticks


class Waiting(msgspec.Struct, frozen=True):
    reason: str
    since: int
    """Everything that happened to the pool from this block on is pending."""
    pending: tuple[Pending, ...] = ()


class Live(msgspec.Struct, frozen=True):
    reference: Block
    """Of the snapshot that made it live."""
    base: Base
    recent: tuple[Touched, ...]
    """Ascending, all after the base."""
    ticks: Ticks
    """After the last of `recent`."""
    fees: Fees | None = None
    verified: Block | None = None
    """The newest block at which a snapshot was found equal."""
    audit_from: int | None = None
    """From this head on the pool wants to be compared with the chain."""

    @property
    def price(self) -> PriceState:
        return self.recent[-1].after if self.recent else self.base.price

    @property
    def last_event_block(self) -> int | None:
        """None where nothing happened since the snapshot."""
        if self.recent:
            return self.recent[-1].block.number
        return None if self.base.block == self.reference else self.base.block.number


class Story(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts since the pool was listed."""

    applied: int = 0
    """Blocks in which something happened to the pool."""
    gated: int = 0
    """Blocks at or before the base, or seen already."""
    rewinds: int = 0
    snapshots: int = 0
    refused: int = 0
    """Snapshots of another fork, or too old."""
    impossible: int = 0
    """Snapshots that break an invariant."""
    audits: int = 0
    divergences: int = 0
    last_divergence: str | None = None
    last_refusal: str | None = None
    last_event_block: int | None = None


class Pool(msgspec.Struct, frozen=True):
    listed: Listed
    life: Waiting | Live
    held: Snapshot | None = None
    """A snapshot ahead of the partition's head."""
    story: Story = Story()


class UnlistedPool(msgspec.Struct, frozen=True):
    """What came for a pool that is not listed, or not yet: the order between topics does not matter."""

    pending: tuple[Pending, ...] = ()
    snapshot: Snapshot | None = None
    """The last one that came."""
    since: int = 0
    """Nothing that happened to the pool from this block on is missing, as far as the chain knows."""


def listed(record: Listed, since: int, pending: tuple[Pending, ...] = ()) -> Pool:
    """Everything that happened from block `since` on is in `pending`."""
    since = max(record.from_block, since)
    return Pool(record, Waiting("listed", since, tuple(each for each in pending if each.block.number >= since)))


def relisted(pool: Pool, record: Listed, head: int | None) -> Pool:
    """Said again: nothing happens. Another description is taken over; another pool or a new listing starts anew."""
    old, new = pool.listed, record
    same = (old.pool.protocol, old.pool.tick_spacing, old.pool.factory, old.from_block) == (
        new.pool.protocol,
        new.pool.tick_spacing,
        new.pool.factory,
        new.from_block,
    )
    return msgspec.structs.replace(pool, listed=record) if same else listed(record, (head or 0) + 1)


def apply(pool: Pool, block: Block, events: tuple[Event, ...], memory: int) -> Pool:
    """A complete block on top of the head brought these events to the pool."""
    life = pool.life
    if isinstance(life, Waiting):
        if block.number < life.since or (life.pending and block.number <= life.pending[-1].block.number):
            return with_story(pool, gated=pool.story.gated + 1)
        waiting = _pending(life, Pending(block, folding.compact(events)))
        return with_story(with_life(pool, waiting), last_event_block=block.number)
    last = life.recent[-1].block.number if life.recent else life.base.block.number
    if block.number <= last:
        return with_story(pool, gated=pool.story.gated + 1)
    try:
        life = folded_up_to(touched_by(life, block, events), block.number - memory)
    except InvariantViolation as violation:
        return lost(pool, block.number, f"invariant: block {block.number}: {violation}")
    story = msgspec.structs.replace(pool.story, applied=pool.story.applied + 1, last_event_block=block.number)
    return msgspec.structs.replace(pool, life=life, story=story)


def _pending(waiting: Waiting, block: Pending) -> Waiting:
    pending = (*waiting.pending, block)
    if len(pending) <= PENDING_BLOCKS:
        return Waiting(waiting.reason, waiting.since, pending)
    return Waiting(waiting.reason, pending[0].block.number + 1, pending[1:])


def touched_by(live: Live, block: Block, events: tuple[Event, ...]) -> Live:
    after = folding.apply(PoolState(live.price, live.ticks), events)
    recent = (*live.recent, Touched(block, folding.compact(events), after.price))
    return msgspec.structs.replace(live, recent=recent, ticks=after.ticks)


def folded_up_to(live: Live, up_to: int) -> Live:
    """The blocks up to that number become part of the base."""
    old = [touched for touched in live.recent if touched.block.number <= up_to]
    if not old:
        return live
    base = Base(old[-1].block, old[-1].after, _at(live, old).ticks)
    return msgspec.structs.replace(live, base=base, recent=live.recent[len(old) :])


def _at(live: Live, remembered: Iterable[Touched]) -> PoolState:
    state = PoolState(live.base.price, live.base.ticks)
    for touched in remembered:
        state = PoolState(touched.after, folding.apply(state, touched.events).ticks)
    return state


def state_at(live: Live, number: int) -> PoolState | None:
    """The state at the end of a block on the canonical chain; None before the base."""
    if number < live.base.block.number:
        return None
    if not live.recent or number >= live.recent[-1].block.number:
        return PoolState(live.price, live.ticks)
    return _at(live, (touched for touched in live.recent if touched.block.number <= number))


def rewound(pool: Pool, ancestor: Block) -> Pool:
    """The same object where the reorg does not concern the pool."""
    if isinstance(pool.life, Waiting):
        return _waits_on(pool, pool.life, ancestor)
    life = pool.life
    if life.base.block.number > ancestor.number:
        reason = f"reorg to block {ancestor.number}, below the base at block {life.base.block.number}"
        return lost(pool, ancestor.number, reason)
    if life.verified and life.verified.number > ancestor.number:
        life = msgspec.structs.replace(life, verified=None)
    if life.fees and life.fees.block > ancestor.number:
        life = msgspec.structs.replace(life, audit_from=ancestor.number + 1)
    if not life.recent or life.recent[-1].block.number <= ancestor.number:
        return pool if life is pool.life else with_life(pool, life)
    kept = tuple(touched for touched in life.recent if touched.block.number <= ancestor.number)
    life = msgspec.structs.replace(life, recent=kept, ticks=_at(life, kept).ticks)
    return with_story(with_life(pool, life), rewinds=pool.story.rewinds + 1, last_event_block=life.last_event_block)


def _waits_on(pool: Pool, waiting: Waiting, ancestor: Block) -> Pool:
    """The blocks after the ancestor come again, so all of them will be kept."""
    since = max(pool.listed.from_block, min(waiting.since, ancestor.number + 1))
    pending = tuple(each for each in waiting.pending if each.block.number <= ancestor.number)
    if (since, len(pending)) == (waiting.since, len(waiting.pending)):
        return pool
    last = pending[-1].block.number if pending else None
    return with_story(with_life(pool, Waiting(waiting.reason, since, pending)), last_event_block=last)


def lost(pool: Pool, last: int, reason: str) -> Pool:
    """What happened up to block `last` is not known for sure: a snapshot must tell."""
    return with_life(pool, Waiting(reason, max(pool.listed.from_block, last + 1)))


def started(pool: Pool, first: int) -> Pool:
    """Nothing before block `first` was kept, and everything from it on will be."""
    if isinstance(pool.life, Live):
        return pool
    return with_life(pool, Waiting(pool.life.reason, max(pool.listed.from_block, first)))


def snapshot_request(pool: Pool, head: int | None) -> SnapshotRequest | None:
    """The snapshot that the pool needs now, if any."""
    life = pool.life
    if isinstance(life, Waiting):
        return None if pool.held else SnapshotRequest(pool.listed.pool, life.reason, max(life.since - 1, 0))
    if life.audit_from is None or head is None or head < life.audit_from:
        return None
    return SnapshotRequest(pool.listed.pool, AUDIT, life.audit_from)


def with_life(pool: Pool, life: Waiting | Live) -> Pool:
    return Pool(pool.listed, life, pool.held, pool.story)


def with_story(pool: Pool, **facts: int | None) -> Pool:
    return msgspec.structs.replace(pool, story=msgspec.structs.replace(pool.story, **facts))
