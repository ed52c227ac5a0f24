"""How a pool lives: Waiting for a snapshot, or Live; what each thing that can happen makes of it. Pure."""

from collections.abc import Iterable

import msgspec

from protocols import folding
from protocols.events import Event
from protocols.folding import Fees, PriceState, Whole
from protocols.states import V4State
from protocols.ticks import InvariantViolation, Ticks
from protocols.types import Block
from streams.records import Listed, Snapshot, Unreadable, Wanted
from tables.chain import Chain

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


class Stranger(msgspec.Struct, frozen=True):
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


def happened(pool: Pool, block: Block, events: tuple[Event, ...], memory: int) -> Pool:
    """A complete block on top of the head brought these events to the pool."""
    life = pool.life
    if isinstance(life, Waiting):
        if block.number < life.since or (life.pending and block.number <= life.pending[-1].block.number):
            return _told(pool, gated=pool.story.gated + 1)
        waiting = _pending(life, Pending(block, folding.essential(events)))
        return _told(_alive(pool, waiting), last_event_block=block.number)
    last = life.recent[-1].block.number if life.recent else life.base.block.number
    if block.number <= last:
        return _told(pool, gated=pool.story.gated + 1)
    try:
        life = _forget(_touched(life, block, events), block.number - memory)
    except InvariantViolation as violation:
        return lost(pool, block.number, f"invariant: block {block.number}: {violation}")
    story = msgspec.structs.replace(pool.story, applied=pool.story.applied + 1, last_event_block=block.number)
    return msgspec.structs.replace(pool, life=life, story=story)


def _pending(waiting: Waiting, block: Pending) -> Waiting:
    pending = (*waiting.pending, block)
    if len(pending) <= PENDING_BLOCKS:
        return Waiting(waiting.reason, waiting.since, pending)
    return Waiting(waiting.reason, pending[0].block.number + 1, pending[1:])


def _touched(live: Live, block: Block, events: tuple[Event, ...]) -> Live:
    after = folding.apply(Whole(live.price, live.ticks), events)
    recent = (*live.recent, Touched(block, folding.essential(events), after.price))
    return msgspec.structs.replace(live, recent=recent, ticks=after.ticks)


def _forget(live: Live, up_to: int) -> Live:
    """The blocks up to that number become part of the base."""
    old = [touched for touched in live.recent if touched.block.number <= up_to]
    if not old:
        return live
    base = Base(old[-1].block, old[-1].after, _at(live, old).ticks)
    return msgspec.structs.replace(live, base=base, recent=live.recent[len(old) :])


def _at(live: Live, remembered: Iterable[Touched]) -> Whole:
    state = Whole(live.base.price, live.base.ticks)
    for touched in remembered:
        state = Whole(touched.after, folding.apply(state, touched.events).ticks)
    return state


def state_at(live: Live, number: int) -> Whole | None:
    """The state at the end of a block on the canonical chain; None before the base."""
    if number < live.base.block.number:
        return None
    if not live.recent or number >= live.recent[-1].block.number:
        return Whole(live.price, live.ticks)
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
        return pool if life is pool.life else _alive(pool, life)
    kept = tuple(touched for touched in life.recent if touched.block.number <= ancestor.number)
    life = msgspec.structs.replace(life, recent=kept, ticks=_at(life, kept).ticks)
    return _told(_alive(pool, life), rewinds=pool.story.rewinds + 1, last_event_block=life.last_event_block)


def _waits_on(pool: Pool, waiting: Waiting, ancestor: Block) -> Pool:
    """The blocks after the ancestor come again, so all of them will be kept."""
    since = max(pool.listed.from_block, min(waiting.since, ancestor.number + 1))
    pending = tuple(each for each in waiting.pending if each.block.number <= ancestor.number)
    if (since, len(pending)) == (waiting.since, len(waiting.pending)):
        return pool
    last = pending[-1].block.number if pending else None
    return _told(_alive(pool, Waiting(waiting.reason, since, pending)), last_event_block=last)


def lost(pool: Pool, last: int, reason: str) -> Pool:
    """What happened up to block `last` is not known for sure: a snapshot must tell."""
    return _alive(pool, Waiting(reason, max(pool.listed.from_block, last + 1)))


def started(pool: Pool, first: int) -> Pool:
    """Nothing before block `first` was kept, and everything from it on will be."""
    if isinstance(pool.life, Live):
        return pool
    return _alive(pool, Waiting(pool.life.reason, max(pool.listed.from_block, first)))


def observed(pool: Pool, snapshot: Snapshot, chain: Chain) -> Pool:
    head = chain.head
    if head is None or snapshot.block.number > head.number:
        return held(pool, snapshot)
    if not chain.has(snapshot.block):
        canonical = chain.hash_at(snapshot.block.number) or "not in memory"
        return _refused(pool, f"block {snapshot.block.number} is {canonical}, the snapshot's is {snapshot.block.hash}")
    if isinstance(pool.life, Live):
        return _audited(pool, pool.life, snapshot, head.number, chain.memory)
    if snapshot.block.number < pool.life.since - 1:
        return _refused(pool, f"of block {snapshot.block.number}, events are kept since block {pool.life.since} only")
    pending = tuple(each for each in pool.life.pending if each.block.number > snapshot.block.number)
    return _adopted(pool, snapshot, pending, head.number, chain.memory)


def held(pool: Pool, snapshot: Snapshot) -> Pool:
    """It is looked at when the partition's head is there; of several the one that will be reached first."""
    return (
        pool
        if pool.held and pool.held.block.number <= snapshot.block.number
        else msgspec.structs.replace(pool, held=snapshot)
    )


def reached(pool: Pool, chain: Chain) -> Pool:
    """A snapshot that was ahead of the head is looked at when the head is there."""
    if not pool.held or not chain.head or pool.held.block.number > chain.head.number:
        return pool
    return observed(msgspec.structs.replace(pool, held=None), pool.held, chain)


def unreadable(pool: Pool, record: Unreadable) -> Pool:
    if isinstance(pool.life, Live):
        return _refused(pool, record.reason)
    return _alive(pool, msgspec.structs.replace(pool.life, reason=f"unreadable: {record.reason}"))


def _adopted(pool: Pool, snapshot: Snapshot, later: Iterable[Pending], head: int, memory: int) -> Pool:
    try:
        state = folding.whole(pool.listed.pool, snapshot.state)
    except InvariantViolation as violation:
        return _impossible(pool, f"of block {snapshot.block.number}: {violation}")
    live = Live(
        reference=snapshot.block,
        base=Base(snapshot.block, state.price, state.ticks),
        recent=(),
        ticks=state.ticks,
        fees=_fees(snapshot),
        verified=snapshot.block,
        audit_from=head + AUDIT_AFTER_BLOCKS,
    )
    try:
        for each in later:
            live = _touched(live, each.block, each.events)
    except InvariantViolation as violation:
        return lost(pool, head, f"invariant: after the snapshot of block {snapshot.block.number}: {violation}")
    if not folding.initialized(live.price):
        return _alive(pool, _uninitialized(pool, head))
    story = msgspec.structs.replace(
        pool.story, snapshots=pool.story.snapshots + 1, applied=pool.story.applied + len(live.recent)
    )
    return Pool(pool.listed, _forget(live, head - memory), pool.held, story)


def _uninitialized(pool: Pool, head: int) -> Waiting:
    if isinstance(pool.life, Waiting):
        return Waiting("uninitialised", pool.life.since, pool.life.pending)
    return Waiting("uninitialised", head + 1)


def _audited(pool: Pool, live: Live, snapshot: Snapshot, head: int, memory: int) -> Pool:
    ours = state_at(live, snapshot.block.number)
    if ours is None:
        return _refused(pool, f"of block {snapshot.block.number}, before the base at block {live.base.block.number}")
    try:
        chain = folding.whole(pool.listed.pool, snapshot.state)
    except InvariantViolation as violation:
        return _impossible(pool, f"of block {snapshot.block.number}: {violation}")
    story = msgspec.structs.replace(pool.story, audits=pool.story.audits + 1)
    if ours == chain:
        newer = live.verified is None or live.verified.number < snapshot.block.number
        life = msgspec.structs.replace(
            live,
            verified=snapshot.block if newer else live.verified,
            fees=_newer(live.fees, _fees(snapshot)),
            audit_from=None,
        )
        return Pool(pool.listed, life, pool.held, story)
    difference = "; ".join(folding.differing_fields(ours, chain)[:8])
    told = msgspec.structs.replace(
        story,
        divergences=story.divergences + 1,
        last_divergence=f"block {snapshot.block.number}: {difference}",
    )
    later = [Pending(each.block, each.events) for each in live.recent if each.block.number > snapshot.block.number]
    return _adopted(Pool(pool.listed, live, pool.held, told), snapshot, later, head, memory)


def _fees(snapshot: Snapshot) -> Fees | None:
    state = snapshot.state
    return Fees(state.lp_fee, state.protocol_fee, snapshot.block.number) if isinstance(state, V4State) else None


def _newer(held: Fees | None, read: Fees | None) -> Fees | None:
    return read if held and read and read.block >= held.block else held


def wish(pool: Pool, head: int | None) -> Wanted | None:
    """The snapshot that the pool needs now, if any."""
    life = pool.life
    if isinstance(life, Waiting):
        return None if pool.held else Wanted(pool.listed.pool, life.reason, max(life.since - 1, 0))
    if life.audit_from is None or head is None or head < life.audit_from:
        return None
    return Wanted(pool.listed.pool, "audit", life.audit_from)


def _alive(pool: Pool, life: Waiting | Live) -> Pool:
    return Pool(pool.listed, life, pool.held, pool.story)


def _told(pool: Pool, **facts: int | None) -> Pool:
    return msgspec.structs.replace(pool, story=msgspec.structs.replace(pool.story, **facts))


def _refused(pool: Pool, reason: str) -> Pool:
    story = msgspec.structs.replace(pool.story, refused=pool.story.refused + 1, last_refusal=reason)
    return msgspec.structs.replace(pool, story=story)


def _impossible(pool: Pool, reason: str) -> Pool:
    return _told(_refused(pool, reason), impossible=pool.story.impossible + 1)
