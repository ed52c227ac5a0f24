"""What a snapshot makes of a pool: the base of a waiting one, the audit of a live one. Pure."""

from collections.abc import Iterable

import msgspec

from protocols import folding
from protocols.folding import Fees
from protocols.states import V4State
from protocols.ticks import InvariantViolation
from streams.kafka.records import Snapshot, Unreadable
from tables.chain import CanonicalChain
from tables.pool import (
    AUDIT_AFTER_BLOCKS,
    Base,
    Live,
    Pending,
    Pool,
    Waiting,
    folded_up_to,
    lost,
    state_at,
    touched_by,
    with_life,
    with_story,
)


def observed(pool: Pool, snapshot: Snapshot, chain: CanonicalChain) -> Pool:
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


def reached(pool: Pool, chain: CanonicalChain) -> Pool:
    """A snapshot that was ahead of the head is looked at when the head is there."""
    if not pool.held or not chain.head or pool.held.block.number > chain.head.number:
        return pool
    return observed(msgspec.structs.replace(pool, held=None), pool.held, chain)


def unreadable(pool: Pool, record: Unreadable) -> Pool:
    if isinstance(pool.life, Live):
        return _refused(pool, record.reason)
    return with_life(pool, msgspec.structs.replace(pool.life, reason=f"unreadable: {record.reason}"))


def _adopted(pool: Pool, snapshot: Snapshot, later: Iterable[Pending], head: int, memory: int) -> Pool:
    try:
        state = folding.from_snapshot(pool.listed.pool, snapshot.state)
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
            live = touched_by(live, each.block, each.events)
    except InvariantViolation as violation:
        return lost(pool, head, f"invariant: after the snapshot of block {snapshot.block.number}: {violation}")
    if not folding.is_initialized(live.price):
        return with_life(pool, _uninitialized(pool, head))
    story = msgspec.structs.replace(
        pool.story, snapshots=pool.story.snapshots + 1, applied=pool.story.applied + len(live.recent)
    )
    return Pool(pool.listed, folded_up_to(live, head - memory), pool.held, story)


def _uninitialized(pool: Pool, head: int) -> Waiting:
    if isinstance(pool.life, Waiting):
        return Waiting("uninitialised", pool.life.since, pool.life.pending)
    return Waiting("uninitialised", head + 1)


def _audited(pool: Pool, live: Live, snapshot: Snapshot, head: int, memory: int) -> Pool:
    ours = state_at(live, snapshot.block.number)
    if ours is None:
        return _refused(pool, f"of block {snapshot.block.number}, before the base at block {live.base.block.number}")
    try:
        chain = folding.from_snapshot(pool.listed.pool, snapshot.state)
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
    difference = "; ".join(folding.differences(ours, chain)[:8])
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


def _refused(pool: Pool, reason: str) -> Pool:
    story = msgspec.structs.replace(pool.story, refused=pool.story.refused + 1, last_refusal=reason)
    return msgspec.structs.replace(pool, story=story)


def _impossible(pool: Pool, reason: str) -> Pool:
    return with_story(_refused(pool, reason), impossible=pool.story.impossible + 1)
