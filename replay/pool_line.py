"""A pool at the end of the replay as one JSON line, spelled as over HTTP, with a digest of its exact state."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from protocols.types import Block, PoolMetadata
from tables.fees import fees_at
from tables.live import Live
from tables.partition import Partition
from tables.pool import Pool, WaitingKind
from tables.views.state import FEES, state_view, ticks_view

_encode = msgspec.json.Encoder(order="deterministic").encode


class PoolLine(msgspec.Struct, frozen=True):
    """At the end of `block`; a waiting pool has a reason, and neither state, ticks nor digest."""

    id: str
    protocol: str
    status: str
    reason: dict[str, str] | None
    block: Block
    state: dict[str, Any] | None
    ticks: list[dict[str, Any]] | None
    digest: str | None
    """SHA-256 over id, protocol, state without fees, and ticks."""
    pool: PoolMetadata


def pool_line(partition: Partition, pool: Pool, block: Block) -> PoolLine:
    metadata, life = pool.listed.pool, pool.life
    if not isinstance(life, Live):
        reason = {"kind": str(life.reason.kind), "detail": life.reason.detail or _history(partition, pool, block)}
        return PoolLine(metadata.id, metadata.protocol, "waiting", reason, block, None, None, None, metadata)
    state = msgspec.to_builtins(state_view(metadata, life.price, fees_at(life.fees, block.number)))
    ticks = msgspec.to_builtins(ticks_view(life.ticks))
    digest = state_digest(metadata.id, metadata.protocol, state, ticks)
    return PoolLine(metadata.id, metadata.protocol, "live", None, block, state, ticks, digest, metadata)


def _history(partition: Partition, pool: Pool, block: Block) -> str:
    assert not isinstance(pool.life, Live)
    if pool.life.reason.kind != WaitingKind.LISTED:
        return ""
    return f"the topics have no snapshot of it from block {max(pool.life.since - 1, 0)} to {block.number}"


def state_digest(pool: str, protocol: str, state: dict[str, Any], ticks: list[dict[str, Any]]) -> str:
    """Without fees: they are as of a snapshot, and a replay may know a newer one than a table did."""
    exact = {name: value for name, value in state.items() if name not in FEES}
    return hashlib.sha256(_encode([pool, protocol, exact, ticks])).hexdigest()


def whole_digest(lines: Iterable[PoolLine]) -> str:
    """Over all pools, ascending by id; a waiting pool counts as waiting."""
    digest = hashlib.sha256()
    for line in sorted(lines, key=lambda each: each.id):
        digest.update(f"{line.id} {line.digest or line.status}\n".encode())
    return digest.hexdigest()


def encode_line(line: PoolLine) -> bytes:
    fields = msgspec.to_builtins(line)
    del fields["pool"]
    return msgspec.json.encode(fields)
