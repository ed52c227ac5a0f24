"""Snapshots: adopted as the base of a waiting pool, an audit of a live one, held while ahead of the head. Pure."""

from collections.abc import Iterable

import msgspec

from protocols import folding
from protocols.dex import Fees, PoolState
from protocols.ticks import InvariantViolation
from protocols.types import Block
from streams.kafka.records import Snapshot, Unreadable
from tables.chain import CanonicalChain
from tables.fees import History, with_read, without_before
from tables.live import Base, Live, advance_base, append_block, state_at
from tables.pool import (
    HeldSnapshot,
    PendingBlock,
    Pool,
    Reason,
    Story,
    Waiting,
    WaitingKind,
    invalidate,
    with_life,
    with_story,
)

AUDIT_AFTER_BLOCKS = 8
"""A pool that became live is audited once so many blocks later: a feed does not say when it took the list over."""
NAMED_DIFFERENCES = 8
"""So many of an audit's differences are named."""
DIVERGENCES_IN_ROW = 2
"""A pool that differs from the chain so many times in a row does not follow its logs: it is no pool of its protocol."""
SHORTEST_DELAY_BLOCKS = 32
LONGEST_DELAY_BLOCKS = 8192
"""Of a pool that does not follow its logs, until it asks again; each further divergence makes it four times longer."""


def take(pool: Pool, snapshot: Snapshot, chain: CanonicalChain, state: PoolState | None = None) -> Pool:
    """Adopts it, audits with it, holds it until the head is there, or rejects it.

    `state` is the snapshot's, where it was checked already: of many ticks that takes a while.
    """
    head = chain.head
    if head is None or snapshot.block.number > head.number:
        return hold(pool, snapshot, state)
    if not chain.has(snapshot.block):
        canonical = chain.hash_at(snapshot.block.number) or "not in memory"
        return _reject(pool, f"block {snapshot.block.number} is {canonical}, the snapshot's is {snapshot.block.hash}")
    if isinstance(pool.life, Live):
        return _audit(pool, pool.life, HeldSnapshot(snapshot, state), head.number, chain.memory)
    if snapshot.block.number < pool.life.ask_from:
        return _reject(pool, f"of block {snapshot.block.number}, the pool waits until block {pool.life.ask_from}")
    if snapshot.block.number < pool.life.since - 1:
        return _reject(pool, f"of block {snapshot.block.number}, events are kept since block {pool.life.since} only")
    pending = tuple(each for each in pool.life.pending if each.block.number > snapshot.block.number)
    return _adopt(pool, HeldSnapshot(snapshot, state), pending, head.number, chain.memory)


def hold(pool: Pool, snapshot: Snapshot, state: PoolState | None = None) -> Pool:
    """Until the partition's head is there; of several the one whose block comes first."""
    if pool.held and pool.held.block.number <= snapshot.block.number:
        return pool
    return msgspec.structs.replace(pool, held=HeldSnapshot(snapshot, state))


def release(pool: Pool, chain: CanonicalChain) -> Pool:
    """Takes the held snapshot if the head is there; else the same object."""
    if not pool.held or not chain.head or pool.held.block.number > chain.head.number:
        return pool
    return take(msgspec.structs.replace(pool, held=None), pool.held.snapshot, chain, pool.held.state)


def unreadable(pool: Pool, record: Unreadable) -> Pool:
    """Why the chain has no state to give becomes the reason of a waiting pool."""
    if isinstance(pool.life, Live):
        return _reject(pool, record.reason)
    return with_life(pool, msgspec.structs.replace(pool.life, reason=Reason(WaitingKind.UNREADABLE, record.reason)))


def _adopt(pool: Pool, held: HeldSnapshot, later: Iterable[PendingBlock], head: int, memory: int) -> Pool:
    snapshot = held.snapshot
    try:
        state = held.state or folding.from_snapshot(pool.listed.pool, snapshot.state)
    except InvariantViolation as violation:
        return _inconsistent(pool, f"of block {snapshot.block.number}: {violation}")
    live = Live(
        reference=snapshot.block,
        base=Base(snapshot.block, state),
        recent=(),
        fees=with_read((), _fees(pool, snapshot), snapshot.block),
        verified=snapshot.block,
        audit_from=head + AUDIT_AFTER_BLOCKS,
    )
    try:
        for each in later:
            live = append_block(live, each.block, each.events)
    except InvariantViolation as violation:
        detail = f"after the snapshot of block {snapshot.block.number}: {violation}"
        return invalidate(pool, head, Reason(WaitingKind.INVARIANT, detail))
    if not folding.is_initialized(live.price):
        return with_life(pool, _uninitialized(pool, head))
    story = msgspec.structs.replace(
        pool.story, snapshots=pool.story.snapshots + 1, applied=pool.story.applied + len(live.recent)
    )
    return Pool(pool.listed, advance_base(live, head - memory), pool.held, story)


def _uninitialized(pool: Pool, head: int) -> Waiting:
    reason = Reason(WaitingKind.UNINITIALIZED)
    if isinstance(pool.life, Waiting):
        return Waiting(reason, pool.life.since, pool.life.pending)
    return Waiting(reason, head + 1)


def _audit(pool: Pool, live: Live, held: HeldSnapshot, head: int, memory: int) -> Pool:
    """Equal: the pool is verified at the block. Different: the snapshot becomes the base, the later blocks stay.

    A pool that differs again and again is live between audits with a state that is wrong: it waits instead.
    """
    snapshot = held.snapshot
    ours = state_at(live, snapshot.block.number)
    if ours is None:
        pool = _reject(pool, f"of block {snapshot.block.number}, before the base at block {live.base.block.number}")
        return with_life(pool, _audit_later(live, head + memory))
    try:
        theirs = held.state or folding.from_snapshot(pool.listed.pool, snapshot.state)
    except InvariantViolation as violation:
        return _inconsistent(pool, f"of block {snapshot.block.number}: {violation}")
    story = msgspec.structs.replace(pool.story, audits=pool.story.audits + 1)
    if ours == theirs:
        if live.had_event(snapshot.block.number):
            story = msgspec.structs.replace(story, divergences_in_row=0)
        fees = with_read(without_before(live.fees, head - memory), _fees(pool, snapshot), snapshot.block)
        return Pool(pool.listed, _verify(live, snapshot.block, fees), pool.held, story)
    difference = "; ".join(folding.differences(ours, theirs, NAMED_DIFFERENCES))
    story = msgspec.structs.replace(
        story,
        divergences=story.divergences + 1,
        divergences_in_row=story.divergences_in_row + 1,
        last_divergence=f"block {snapshot.block.number}: {difference}",
    )
    if story.divergences_in_row >= DIVERGENCES_IN_ROW:
        return Pool(pool.listed, _wait_long(pool, head, story), None, story)
    later = [PendingBlock(each.block, each.events) for each in live.recent if each.block.number > snapshot.block.number]
    return _adopt(Pool(pool.listed, live, pool.held, story), HeldSnapshot(snapshot, theirs), later, head, memory)


def _wait_long(pool: Pool, head: int, story: Story) -> Waiting:
    delay = min(SHORTEST_DELAY_BLOCKS * 4 ** (story.divergences_in_row - DIVERGENCES_IN_ROW), LONGEST_DELAY_BLOCKS)
    detail = f"{story.divergences_in_row} audits in a row differ, the last at {story.last_divergence}"
    reason = Reason(WaitingKind.DOES_NOT_FOLLOW_ITS_LOGS, detail)
    return Waiting(reason, max(pool.listed.from_block, head + 1), ask_from=head + delay)


def _audit_later(live: Live, number: int) -> Live:
    """An audit that came too late is asked for again at that head, if one was asked for."""
    if live.audit_from is None:
        return live
    return msgspec.structs.replace(live, audit_from=max(live.audit_from, number))


def _verify(live: Live, block: Block, fees: History) -> Live:
    newer = live.verified is None or live.verified.number < block.number
    return msgspec.structs.replace(
        live,
        verified=block if newer else live.verified,
        fees=fees,
        audit_from=None,
    )


def _fees(pool: Pool, snapshot: Snapshot) -> Fees | None:
    return folding.fees_of(pool.listed.pool, snapshot.state, snapshot.block.number)


def _reject(pool: Pool, reason: str) -> Pool:
    return with_story(pool, rejected=pool.story.rejected + 1, last_rejection=reason)


def _inconsistent(pool: Pool, reason: str) -> Pool:
    return with_story(_reject(pool, reason), inconsistent=pool.story.inconsistent + 1)
