"""Events of the stream, as frozen records."""

from typing import Literal

import msgspec

from pool_state_arena_client import decoding
from pool_state_arena_client.decoding import Json, convert, decode
from pool_state_arena_client.errors import StreamClosed, Unreachable
from pool_state_arena_client.records import Block, BlockId, Envelope, Pool, PoolCounts

Finality = Literal["instant", "safe", "finalized"]


class Snapshot(msgspec.Struct, frozen=True):
    """All pools that match, as of the envelope's block: what came before does not count any more."""

    envelope: Envelope
    pools: tuple[Pool, ...]


class BlockApplied(msgspec.Struct, frozen=True):
    """The pools that the envelope's block changed, as they are after it."""

    envelope: Envelope
    pools: tuple[Pool, ...]
    removed: tuple[str, ...] = ()
    """Ids of pools that are off the whitelist."""


class Reorganised(msgspec.Struct, frozen=True):
    """The blocks after the ancestor are gone; `pools` are all that are not as before."""

    envelope: Envelope
    ancestor: BlockId
    dropped: tuple[BlockId, ...]
    pools: tuple[Pool, ...]
    removed: tuple[str, ...] = ()


class StreamStatus(msgspec.Struct, frozen=True):
    """Comes every few seconds though nothing happens."""

    envelope: Envelope
    pools: PoolCounts
    lag_blocks: int | None = None


KINDS = {"snapshot", "block", "reorg", "status", "closed"}
Event = Snapshot | BlockApplied | Reorganised | StreamStatus


def read_event(kind: str, data: str) -> Event | None:
    """None for a kind that this version does not know. Raises StreamClosed, Unreachable."""
    if kind not in KINDS:
        return None
    fields = decode(data, Json)
    match kind:
        case "snapshot":
            return Snapshot(decoding.envelope(fields), _pools(fields))
        case "block":
            return BlockApplied(decoding.envelope(fields), _pools(fields), _removed(fields))
        case "reorg":
            ancestor, dropped = convert(fields.get("ancestor"), BlockId), fields.get("dropped", ())
            return Reorganised(
                decoding.envelope(fields),
                ancestor,
                convert(dropped, tuple[BlockId, ...]),
                _pools(fields),
                _removed(fields),
            )
        case "status":
            counts = convert(fields.get("pools"), PoolCounts)
            return StreamStatus(decoding.envelope(fields), counts, fields.get("lag_blocks"))
        case _:
            raise StreamClosed(str(fields.get("error", "the server gives no reason")))


def _pools(fields: Json) -> tuple[Pool, ...]:
    return tuple(decoding.pool(each) for each in fields.get("pools", ()))


def _removed(fields: Json) -> tuple[str, ...]:
    return tuple(fields.get("removed", ()))


def block_of(event: Snapshot | BlockApplied | Reorganised) -> Block:
    """Raises Unreachable where the event names none."""
    if event.envelope.block is None:
        raise Unreachable("an event of the stream names no block")
    return event.envelope.block
