"""Applies whitelist messages from NATS to the list held.

Pure. In order of precedence the subject (`.add`, `.remove`), the message's `type`, and else a full list decide what a
message does. Rejected leaves the list as it is. Single pools that cannot be decoded are skipped, with the reason in
`skipped`; they stay on the list if they were on it.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from protocols.types import PoolId, PoolMetadata, ProtocolName
from streams.nats.whitelist_decoder import (
    Message,
    Part,
    Rejected,
    Undecodable,
    decode_message,
    decode_pool,
    decode_pool_id,
    decode_protocol,
)

V = TypeVar("V")


class PartialList(msgspec.Struct, Generic[V], frozen=True):
    """A full list in parts, as far as it has arrived."""

    snapshot_id: str
    parts: dict[int, dict[PoolId, V]]


class FullList(msgspec.Struct, frozen=True):
    """For state keepers: the pools with their metadata."""

    pools: Mapping[PoolId, PoolMetadata] = {}
    skipped: tuple[str, ...] = ()
    """Pools of the last message that cannot be decoded, with the reason."""
    announced: frozenset[PoolId] = frozenset()
    """What the last minimal message added: a flat full message of just these, without a type, is an add."""
    partial: PartialList[PoolMetadata] | None = None


class MinimalList(msgspec.Struct, frozen=True):
    """For log filters: the pools, and their protocols where the list has them."""

    pools: Mapping[PoolId, ProtocolName | None] = {}
    skipped: tuple[str, ...] = ()
    """Pools of the last message that cannot be decoded, with the reason."""
    partial: PartialList[ProtocolName | None] | None = None


def apply_full(held: FullList, subject: str, payload: bytes, chain: str) -> FullList:
    """The list after a message on any subject; `.minimal` removes and announces. Raises Rejected."""
    message = decode_message(subject, payload, chain)
    if message.action == "remove":
        ids, skipped = _ids(message)
        kept = {pool: metadata for pool, metadata in held.pools.items() if pool not in ids}
        return FullList(kept, skipped, partial=held.partial)
    if message.subject == "minimal":
        ids, _ = _ids(message)
        announced = frozenset(ids) if message.action == "add" else frozenset()
        return FullList(held.pools, announced=announced, partial=held.partial)
    named, found, skipped = _pools(message, held.pools)
    if message.action == "add" or _is_announced(message, named, held):
        return FullList({**held.pools, **found}, skipped, partial=held.partial)
    partial, whole = _join_parts(held.partial, message.part, found)
    if whole is None:
        return FullList(held.pools, skipped, held.announced, partial)
    _expect_some(subject, whole, skipped)
    return FullList(whole, skipped)


def apply_minimal(held: MinimalList, subject: str, payload: bytes, chain: str) -> MinimalList:
    """The list after a message on any subject; `.full` is decoded and does not count. Raises Rejected."""
    message = decode_message(subject, payload, chain)
    if message.subject == "full":
        return MinimalList(held.pools, partial=held.partial)
    if message.action == "remove":
        ids, skipped = _ids(message)
        kept = {pool: protocol for pool, protocol in held.pools.items() if pool not in ids}
        return MinimalList(kept, skipped, held.partial)
    found, skipped = _protocols(message, held.pools)
    if message.action == "add":
        return MinimalList({**held.pools, **found}, skipped, held.partial)
    partial, whole = _join_parts(held.partial, message.part, found)
    if whole is None:
        return MinimalList(held.pools, skipped, partial)
    _expect_some(subject, whole, skipped)
    return MinimalList(whole, skipped)


def _ids(message: Message) -> tuple[set[PoolId], tuple[str, ...]]:
    ids, skipped = set(), []
    for position, entry in enumerate(message.entries):
        try:
            ids.add(decode_pool_id(entry))
        except Undecodable as error:
            skipped.append(f"pool {position} of {message.subject}: {error}")
    return ids, tuple(skipped)


def _pools(
    message: Message, held: Mapping[PoolId, PoolMetadata]
) -> tuple[set[PoolId], dict[PoolId, PoolMetadata], tuple[str, ...]]:
    """All ids, the pools with metadata, and what is skipped."""
    named: set[PoolId] = set()
    found: dict[PoolId, PoolMetadata] = {}
    skipped = []
    for position, entry in enumerate(message.entries):
        name = f"pool {position} of {message.subject}"
        try:
            id_ = decode_pool_id(entry)
            named.add(id_)
            name += f", {id_}"
            if id_ in held:
                found.setdefault(id_, held[id_])
            found[id_] = decode_pool(entry)
        except Undecodable as error:
            skipped.append(f"{name}: {error}")
    return named, found, tuple(skipped)


def _protocols(
    message: Message, held: Mapping[PoolId, ProtocolName | None]
) -> tuple[dict[PoolId, ProtocolName | None], tuple[str, ...]]:
    found: dict[PoolId, ProtocolName | None] = {}
    skipped = []
    protocols = message.protocols or (None,) * len(message.entries)
    for position, (entry, protocol) in enumerate(zip(message.entries, protocols, strict=True)):
        try:
            id_ = decode_pool_id(entry)
            found[id_] = decode_protocol(id_, protocol) or held.get(id_)
        except Undecodable as error:
            skipped.append(f"pool {position} of {message.subject}: {error}")
    return found, tuple(skipped)


def _is_announced(message: Message, named: set[PoolId], held: FullList) -> bool:
    flat = all(b'"pool_id"' not in bytes(entry) and b'"address"' not in bytes(entry) for entry in message.entries)
    return not message.is_explicit and flat and bool(named) and named == held.announced


def _join_parts(
    partial: PartialList[V] | None, part: Part | None, found: dict[PoolId, V]
) -> tuple[PartialList[V] | None, dict[PoolId, V] | None]:
    """The whole list with its last part, None before."""
    if part is None:
        return None, found
    parts = dict(partial.parts) if partial is not None and partial.snapshot_id == part.snapshot_id else {}
    parts[part.number] = found
    if any(number not in parts for number in range(1, part.of + 1)):
        return PartialList(part.snapshot_id, parts), None
    return None, {id_: value for number in sorted(parts) for id_, value in parts[number].items()}


def _expect_some(subject: str, whole: Mapping[PoolId, object], skipped: tuple[str, ...]) -> None:
    if not whole:
        faults = f"; {skipped[0]}" if skipped else ""
        raise Rejected(f"{subject}: a list without one readable pool does not replace the one held{faults}")
