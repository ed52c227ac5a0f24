"""What a NATS whitelist message makes of the list held.

PURE. Every dialect in the field is read (docs: the whitelist's formats). In order of precedence the subject `.add` or
`.remove`, the message's `type`, and else replacing say what is done. `Refused` leaves the list as it is; single pools
that cannot be read are skipped, with the reason in `skipped`, and stay if they were held.
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
    minimal_protocol,
    pool,
    pool_id,
)

V = TypeVar("V")


class Joining(msgspec.Struct, Generic[V], frozen=True):
    """The parts of a replacing list that came so far."""

    snapshot_id: str
    parts: dict[int, dict[PoolId, V]]


class FullList(msgspec.Struct, frozen=True):
    """For who keeps state: the pools with their metadata."""

    pools: Mapping[PoolId, PoolMetadata] = {}
    skipped: tuple[str, ...] = ()
    """Of the last message: which pools cannot be read and why."""
    announced: frozenset[PoolId] = frozenset()
    """What the last minimal message added: a flat full message of just these, without a type, is an add."""
    joining: Joining[PoolMetadata] | None = None


class MinimalList(msgspec.Struct, frozen=True):
    """For who filters logs: the pools, and their protocols where the list says them."""

    pools: Mapping[PoolId, ProtocolName | None] = {}
    skipped: tuple[str, ...] = ()
    """Of the last message: which pools cannot be read and why."""
    joining: Joining[ProtocolName | None] | None = None


def apply_full(held: FullList, subject: str, payload: bytes, chain: str) -> FullList:
    """The list after a message on any of the subjects; `.minimal` ones announce and remove. Raises Refused."""
    message = decode_message(subject, payload, chain)
    if message.action == "remove":
        ids, skipped = _ids(message)
        kept = {pool: metadata for pool, metadata in held.pools.items() if pool not in ids}
        return FullList(kept, skipped, joining=held.joining)
    if message.subject == "minimal":
        ids, _ = _ids(message)
        announced = frozenset(ids) if message.action == "add" else frozenset()
        return FullList(held.pools, announced=announced, joining=held.joining)
    named, found, skipped = _pools(message, held.pools)
    if message.action == "add" or _is_announced(message, named, held):
        return FullList({**held.pools, **found}, skipped, joining=held.joining)
    joining, whole = _joined(held.joining, message.part, found)
    if whole is None:
        return FullList(held.pools, skipped, held.announced, joining)
    _expect_some(subject, whole, skipped)
    return FullList(whole, skipped)


def apply_minimal(held: MinimalList, subject: str, payload: bytes, chain: str) -> MinimalList:
    """The list after a message on any of the subjects; `.full` ones are another list's. Raises Refused."""
    message = decode_message(subject, payload, chain)
    if message.subject == "full":
        return MinimalList(held.pools, joining=held.joining)
    if message.action == "remove":
        ids, skipped = _ids(message)
        kept = {pool: protocol for pool, protocol in held.pools.items() if pool not in ids}
        return MinimalList(kept, skipped, held.joining)
    found, skipped = _protocols(message, held.pools)
    if message.action == "add":
        return MinimalList({**held.pools, **found}, skipped, held.joining)
    joining, whole = _joined(held.joining, message.part, found)
    if whole is None:
        return MinimalList(held.pools, skipped, joining)
    _expect_some(subject, whole, skipped)
    return MinimalList(whole, skipped)


def _ids(message: Message) -> tuple[set[PoolId], tuple[str, ...]]:
    ids, skipped = set(), []
    for position, entry in enumerate(message.entries):
        try:
            ids.add(pool_id(entry))
        except Undecodable as error:
            skipped.append(f"pool {position} of {message.subject}: {error}")
    return ids, tuple(skipped)


def _pools(
    message: Message, held: Mapping[PoolId, PoolMetadata]
) -> tuple[set[PoolId], dict[PoolId, PoolMetadata], tuple[str, ...]]:
    """Every id that can be read, the pools to hold, and what had to be skipped."""
    named: set[PoolId] = set()
    found: dict[PoolId, PoolMetadata] = {}
    skipped = []
    for position, entry in enumerate(message.entries):
        name = f"pool {position} of {message.subject}"
        try:
            id_ = pool_id(entry)
            named.add(id_)
            name += f", {id_}"
            if id_ in held:
                found.setdefault(id_, held[id_])
            found[id_] = pool(entry)
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
            id_ = pool_id(entry)
            found[id_] = minimal_protocol(id_, protocol) or held.get(id_)
        except Undecodable as error:
            skipped.append(f"pool {position} of {message.subject}: {error}")
    return found, tuple(skipped)


def _is_announced(message: Message, named: set[PoolId], held: FullList) -> bool:
    flat = all(b'"pool_id"' not in bytes(entry) and b'"address"' not in bytes(entry) for entry in message.entries)
    return not message.said and flat and bool(named) and named == held.announced


def _joined(
    joining: Joining[V] | None, part: Part | None, found: dict[PoolId, V]
) -> tuple[Joining[V] | None, dict[PoolId, V] | None]:
    """The whole list once its last part is there."""
    if part is None:
        return None, found
    parts = dict(joining.parts) if joining is not None and joining.snapshot_id == part.snapshot_id else {}
    parts[part.number] = found
    if any(number not in parts for number in range(1, part.of + 1)):
        return Joining(part.snapshot_id, parts), None
    return None, {id_: value for number in sorted(parts) for id_, value in parts[number].items()}


def _expect_some(subject: str, whole: Mapping[PoolId, object], skipped: tuple[str, ...]) -> None:
    if not whole:
        faults = f"; {skipped[0]}" if skipped else ""
        raise Rejected(f"{subject}: a list without one readable pool does not replace the one held{faults}")
