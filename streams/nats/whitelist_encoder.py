"""What we say about the whitelist on NATS: typed and nested, which every reader in the field understands.

PURE. `.minimal` is for an ExEx and goes first, `.full` for who keeps state; changes go to `.add` and `.remove` too.
A replacing list that exceeds the server's max_payload goes out in parts, each on a subject of its own (`.full.part.2`),
so that a stream that keeps the last message per subject keeps them all; only readers that join parts see it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from protocols.types import PoolId, PoolMetadata

ENVELOPE_BYTES = 512
"""What a message needs besides its pools, with room to spare."""


About = Literal["pools", "tokens"]


class Outgoing(NamedTuple):
    subject: str
    payload: bytes


class TooLarge(Exception):
    """A single pool is more than the server takes in one message."""


class Said(NamedTuple):
    chain: str
    timestamp: str
    """ISO 8601."""
    snapshot_id: int
    """Milliseconds since the epoch; greater than any before."""


def replacing(said: Said, pools: Sequence[PoolMetadata], max_payload: int) -> list[Outgoing]:
    """Raises TooLarge, and ValueError for no pools at all: readers refuse to be emptied."""
    if not pools:
        raise ValueError("a list without pools cannot replace another; remove its pools instead")
    minimal = chunks([_Entry(pool.id, pool.protocol) for pool in pools], max_payload)
    full = chunks([_nested(pool) for pool in pools], max_payload)
    return [
        *parts(said, "minimal", [_minimal("full", chunk) for chunk in minimal]),
        *parts(said, "full", [{"type": "full", "pool_count": len(chunk), "pools": chunk} for chunk in full]),
    ]


def adding(said: Said, pools: Sequence[PoolMetadata], max_payload: int) -> list[Outgoing]:
    """Raises TooLarge."""
    minimal = chunks([_Entry(pool.id, pool.protocol) for pool in pools], max_payload)
    full = [
        {"type": "add", "pool_count": len(chunk), "pools": chunk}
        for chunk in chunks([_nested(pool) for pool in pools], max_payload)
    ]
    return [
        *(outgoing(said, "minimal", _minimal("add", chunk)) for chunk in minimal),
        *(outgoing(said, kind, body) for kind in ("full", "add") for body in full),
    ]


def removing(said: Said, pools: Sequence[PoolId], max_payload: int) -> list[Outgoing]:
    """Raises TooLarge."""
    messages = []
    for chunk in chunks(list(pools), max_payload):
        messages.append(outgoing(said, "minimal", {"type": "remove", "pool_count": len(chunk), "pools": chunk}))
        for kind in ("full", "remove"):
            messages.append(outgoing(said, kind, {"type": "remove", "pool_addresses": chunk}))
    return messages


class _Entry(NamedTuple):
    id: PoolId
    protocol: str


def _minimal(action: Literal["full", "add"], entries: Sequence[_Entry]) -> dict[str, Any]:
    return {
        "type": action,
        "pool_count": len(entries),
        "pools": [entry.id for entry in entries],
        "protocols": [entry.protocol for entry in entries],
    }


def _nested(pool: PoolMetadata) -> dict[str, Any]:
    nested = {"address": pool.id, "protocol": pool.protocol, "factory": pool.factory}
    if pool.protocol == "v4":
        nested["pool_id"] = pool.id
    optional = {"fee": pool.fee, "tick_spacing": pool.tick_spacing}
    tokens = {"token0": msgspec.to_builtins(pool.token0), "token1": msgspec.to_builtins(pool.token1)}
    return nested | tokens | {name: value for name, value in optional.items() if value is not None}


def chunks(entries: Sequence[Any], max_payload: int) -> Iterable[list[Any]]:
    """As many entries in each as fit into one message. Raises TooLarge."""
    chunk: list[Any] = []
    size = 0
    for entry in entries:
        entry_size = len(msgspec.json.encode(entry)) + 1
        if entry_size > max_payload - ENVELOPE_BYTES:
            raise TooLarge(f"{entry} takes {entry_size} bytes; the server takes messages of {max_payload}")
        if size + entry_size > max_payload - ENVELOPE_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += entry_size
    if chunk:
        yield chunk


def parts(said: Said, kind: str, bodies: list[dict[str, Any]], about: About = "pools") -> list[Outgoing]:
    """One message on its subject, or several on subjects of their own that a reader joins."""
    if len(bodies) == 1:
        return [outgoing(said, kind, bodies[0], about)]
    return [
        outgoing(said, f"{kind}.part.{number}", body | {"part": number, "parts": len(bodies)}, about)
        for number, body in enumerate(bodies, 1)
    ]


def outgoing(said: Said, kind: str, body: dict[str, Any], about: About = "pools") -> Outgoing:
    subject = f"whitelist.{about}.{said.chain}.{kind}"
    return Outgoing(subject, msgspec.json.encode(body | said._asdict()))
