"""Where a pool's state comes from, and what happened to it since it was listed. Pure."""

import msgspec

from protocols.types import Block
from tables.live import Live
from tables.partition import Partition
from tables.pool import Pool, Waiting
from tables.views.memory import reason
from tables.views.pool import ReasonView, Status, reason_view


class Explanation(msgspec.Struct, frozen=True):
    id: str
    status: Status
    reason: ReasonView | None
    listed_from_block: int
    held_snapshot: Block | None
    """The block of a snapshot ahead of the head."""
    head: Block | None
    updates_applied: int
    updates_skipped: int
    rewinds: int
    snapshots: int
    snapshots_refused: int
    last_refusal: str | None
    audits: int
    divergences: int
    last_divergence: str | None


class LiveExplanation(Explanation, frozen=True):
    reference_block: Block
    base_block: Block
    verified_block: Block | None
    blocks_in_memory: list[Block]
    ticks: int
    next_audit_from_block: int | None


class WaitingExplanation(Explanation, frozen=True):
    kept_since_block: int
    blocks_pending: list[Block]


def explanation(partition: Partition, pool: Pool) -> LiveExplanation | WaitingExplanation:
    shared = msgspec.structs.asdict(_shared(partition, pool))
    match pool.life:
        case Live() as life:
            return LiveExplanation(
                **shared,
                reference_block=life.reference,
                base_block=life.base.block,
                verified_block=life.verified,
                blocks_in_memory=[applied.block for applied in life.recent],
                ticks=len(life.ticks),
                next_audit_from_block=life.audit_from,
            )
        case Waiting() as life:
            pending = [each.block for each in life.pending]
            return WaitingExplanation(**shared, kept_since_block=life.since, blocks_pending=pending)


def _shared(partition: Partition, pool: Pool) -> Explanation:
    head, story = partition.chain.head, pool.story
    return Explanation(
        id=pool.listed.pool.id,
        status="live" if isinstance(pool.life, Live) else "waiting",
        reason=reason_view(reason(partition, pool)),
        listed_from_block=pool.listed.from_block,
        held_snapshot=pool.held.block if pool.held else None,
        head=Block(head.number, head.hash) if head else None,
        updates_applied=story.applied,
        updates_skipped=story.gated,
        rewinds=story.rewinds,
        snapshots=story.snapshots,
        snapshots_refused=story.rejected,
        last_refusal=story.last_rejection,
        audits=story.audits,
        divergences=story.divergences,
        last_divergence=story.last_divergence,
    )
