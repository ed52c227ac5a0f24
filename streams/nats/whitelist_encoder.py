"""Encodes the whitelist messages that we publish on NATS: typed and nested, which every reader in the field decodes.

Pure. `.minimal` is for an ExEx and goes first, `.full` is for state keepers; changes go to `.add` and `.remove` too.
A replacing list that exceeds the server's max_payload goes out in parts, each on a subject of its own (`.full.part.2`),
so that a stream that keeps the last message per subject keeps them all; only readers that join parts see it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from protocols.registry import is_singleton
from protocols.types import PoolId, PoolMetadata

ENVELOPE_BYTES = 512
"""Upper bound of a message's bytes besides its pools."""


ListKind = Literal["pools", "tokens"]


class OutgoingMessage(NamedTuple):
    subject: str
    payload: bytes


class TooLarge(Exception):
    """A single pool exceeds the server's max_payload."""


class Envelope(NamedTuple):
    chain: str
    timestamp: str
    """ISO 8601."""
    snapshot_id: int
    """Milliseconds since the epoch; greater than any before."""


def encode_full(envelope: Envelope, pools: Sequence[PoolMetadata], max_payload: int) -> list[OutgoingMessage]:
    """A list that replaces. Raises TooLarge, and ValueError without pools: readers reject an empty list."""
    if not pools:
        raise ValueError("a list without pools cannot replace another; remove its pools instead")
    minimal = split_by_size([_Entry(pool.id, pool.protocol) for pool in pools], max_payload)
    full = split_by_size([_nested(pool) for pool in pools], max_payload)
    return [
        *encode_parts(envelope, "minimal", [_minimal("full", chunk) for chunk in minimal]),
        *encode_parts(envelope, "full", [{"type": "full", "pool_count": len(chunk), "pools": chunk} for chunk in full]),
    ]


def is_in_parts(messages: Iterable[OutgoingMessage]) -> bool:
    """Whether a list of pools exceeds one message, so that readers have to join its parts."""
    return any(".part." in message.subject and ".pools." in message.subject for message in messages)


def encode_add(envelope: Envelope, pools: Sequence[PoolMetadata], max_payload: int) -> list[OutgoingMessage]:
    """Raises TooLarge."""
    minimal = split_by_size([_Entry(pool.id, pool.protocol) for pool in pools], max_payload)
    full = [
        {"type": "add", "pool_count": len(chunk), "pools": chunk}
        for chunk in split_by_size([_nested(pool) for pool in pools], max_payload)
    ]
    return [
        *(encode_message(envelope, "minimal", _minimal("add", chunk)) for chunk in minimal),
        *(encode_message(envelope, kind, body) for kind in ("full", "add") for body in full),
    ]


def encode_remove(envelope: Envelope, pools: Sequence[PoolId], max_payload: int) -> list[OutgoingMessage]:
    """Raises TooLarge."""
    messages = []
    for chunk in split_by_size(list(pools), max_payload):
        messages.append(
            encode_message(envelope, "minimal", {"type": "remove", "pool_count": len(chunk), "pools": chunk})
        )
        for kind in ("full", "remove"):
            messages.append(encode_message(envelope, kind, {"type": "remove", "pool_addresses": chunk}))
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
    if is_singleton(pool.protocol):
        nested["pool_id"] = pool.id
    optional = {"fee": pool.fee, "tick_spacing": pool.tick_spacing, "hooks": pool.hooks}
    tokens = {"token0": msgspec.to_builtins(pool.token0), "token1": msgspec.to_builtins(pool.token1)}
    return nested | tokens | {name: value for name, value in optional.items() if value is not None}


def split_by_size(entries: Sequence[Any], max_payload: int) -> Iterable[list[Any]]:
    """Chunks that fit into one message each. Raises TooLarge."""
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


def encode_parts(
    envelope: Envelope, kind: str, bodies: list[dict[str, Any]], about: ListKind = "pools"
) -> list[OutgoingMessage]:
    """One message on its subject, or parts on subjects of their own, which a reader joins."""
    if len(bodies) == 1:
        return [encode_message(envelope, kind, bodies[0], about)]
    return [
        encode_message(envelope, f"{kind}.part.{number}", body | {"part": number, "parts": len(bodies)}, about)
        for number, body in enumerate(bodies, 1)
    ]


def encode_message(envelope: Envelope, kind: str, body: dict[str, Any], about: ListKind = "pools") -> OutgoingMessage:
    subject = f"whitelist.{about}.{envelope.chain}.{kind}"
    return OutgoingMessage(subject, msgspec.json.encode(body | envelope._asdict()))
