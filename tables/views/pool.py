"""Answers of the HTTP queries as JSON-ready values. Pure: a partition in, a dict out."""

from collections.abc import Callable

import msgspec

from protocols.dex import PoolState
from protocols.types import Block, PoolMetadata
from streams.kafka.records import Header
from tables.fees import fees_at
from tables.live import Live, state_at
from tables.partition import Partition
from tables.pool import Pool, Reason, WaitingKind
from tables.views import state as state_view
from tables.views.state import Json

AHEAD = Reason(WaitingKind.AHEAD, "a crash left its state ahead of the partition's head")
NO_BLOCK = Reason(WaitingKind.GAP, "no block has come since")


class NotInMemory(Exception):
    """A block whose state is not remembered, with the range of blocks that is."""

    def __init__(self, asked: int, first: int | None, last: int | None, why: str) -> None:
        super().__init__(f"block {asked} cannot be had: {why}")
        self.first, self.last = first, last


class At(msgspec.Struct, frozen=True):
    """A live pool's state at the end of a block."""

    live: Live
    block: Block
    state: PoolState


def at(partition: Partition, pool: Pool, number: int | None) -> At | None:
    """At the partition's head where no number is asked for; None while the pool waits. Raises NotInMemory."""
    head = partition.chain.head
    live = pool.life
    if not isinstance(live, Live) or head is None or partition.is_ahead(pool.listed.pool.id):
        if number is not None:
            raise NotInMemory(number, None, None, f"the pool is waiting: {reason(partition, pool)}")
        return None
    first = max(live.base.block.number, partition.chain.heads[0].number - 1)
    wanted = head.number if number is None else number
    block_hash = partition.chain.hash_at(wanted)
    state = state_at(live, wanted) if first <= wanted <= head.number else None
    if state is None or block_hash is None:
        if number is None:
            return None
        raise NotInMemory(number, first, head.number, f"in memory are blocks {first} to {head.number}")
    return At(live, Block(wanted, block_hash), state)


def reason(partition: Partition, pool: Pool) -> Reason | None:
    """Why no state can be served; None where one can."""
    if not isinstance(pool.life, Live):
        return pool.life.reason
    if partition.is_ahead(pool.listed.pool.id):
        return AHEAD
    return None if partition.chain.head else NO_BLOCK


def pool_view(partition: Partition, pool: Pool, number: int | None = None) -> Json:
    found = at(partition, pool, number)
    metadata = pool.listed.pool
    live = found.live if found else None
    return {
        "id": metadata.id,
        "protocol": metadata.protocol,
        "status": "live" if found else "waiting",
        "reason": None if found else _reason_view(reason(partition, pool) or AHEAD),
        "block": block_view(found.block if found else partition.chain.head),
        "reference_block": block_view(live.reference if live else None),
        "verified_block": live.verified.number if live and live.verified else None,
        "last_event_block": pool.story.last_event_block,
        "token0": msgspec.to_builtins(metadata.token0),
        "token1": msgspec.to_builtins(metadata.token1),
        "fee": metadata.fee,
        "tick_spacing": metadata.tick_spacing,
        "factory": metadata.factory,
        "state": _state(metadata, found) if found else None,
    }


def ticks_answer(partition: Partition, pool: Pool, number: int | None = None) -> Callable[[], Json]:
    """What makes the answer, from immutable values: it may run in a thread, for there can be tens of thousands."""
    found = at(partition, pool, number)
    view: Json = {
        "id": pool.listed.pool.id,
        "status": "live" if found else "waiting",
        "reason": None if found else _reason_view(reason(partition, pool)),
        "block": block_view(found.block if found else partition.chain.head),
    }
    return lambda: view | {"ticks": state_view.ticks_view(found.state.ticks) if found else None}


def explain_view(partition: Partition, pool: Pool) -> Json:
    life = pool.life
    story = pool.story
    view: Json = {
        "id": pool.listed.pool.id,
        "status": "live" if isinstance(life, Live) else "waiting",
        "reason": _reason_view(reason(partition, pool)),
        "listed_from_block": pool.listed.from_block,
        "held_snapshot": block_view(pool.held.block if pool.held else None),
        "head": block_view(partition.chain.head),
        "updates_applied": story.applied,
        "updates_skipped": story.gated,
        "rewinds": story.rewinds,
        "snapshots": story.snapshots,
        "snapshots_refused": story.rejected,
        "last_refusal": story.last_rejection,
        "audits": story.audits,
        "divergences": story.divergences,
        "last_divergence": story.last_divergence,
    }
    if isinstance(life, Live):
        view |= {
            "reference_block": block_view(life.reference),
            "base_block": block_view(life.base.block),
            "verified_block": block_view(life.verified),
            "blocks_in_memory": [block_view(applied.block) for applied in life.recent],
            "ticks": len(life.ticks),
            "next_audit_from_block": life.audit_from,
        }
    else:
        view |= {"kept_since_block": life.since, "blocks_pending": [block_view(each.block) for each in life.pending]}
    return view


def _state(pool: PoolMetadata, found: At) -> Json:
    return state_view.state_view(pool, found.state.price, fees_at(found.live.fees, found.block.number))


def _reason_view(why: Reason | None) -> Json | None:
    return {"kind": str(why.kind), "detail": why.detail} if why else None


def block_view(block: Block | Header | None) -> Json | None:
    return {"number": block.number, "hash": block.hash} if block else None
