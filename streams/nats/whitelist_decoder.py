"""Decodes one whitelist message from NATS, in any dialect of the field: its action and its pools.

Pure. What the message does to the list is in streams/nats/whitelist_state.py.
"""

import re
from typing import Literal, NamedTuple

import msgspec

from protocols.dex import SINGLETON_ID
from protocols.registry import NAMES, can_be, dex_of, protocol_of_id
from protocols.types import LARGEST_TICK_SPACING, PoolId, PoolMetadata, ProtocolName, Token
from streams.json_input import decode_json

HEX = re.compile(r"0[xX](?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})")
LARGEST_UINT24 = 2**24 - 1

SubjectKind = Literal["minimal", "full", "add", "remove"]
Action = Literal["full", "add", "remove"]


class Rejected(Exception):
    """The message as a whole is not applied; the list stays as it is."""


class Undecodable(Exception):
    """One pool of a message cannot be decoded."""


class Part(NamedTuple):
    snapshot_id: str
    number: int
    """From 1."""
    of: int


class Message(msgspec.Struct, frozen=True):
    subject: SubjectKind
    action: Action
    is_explicit: bool
    """The subject or `type` names the action; False: neither does, which means a full list."""
    entries: tuple[msgspec.Raw, ...]
    protocols: tuple[object, ...] | None
    part: Part | None


class _Envelope(msgspec.Struct):
    chain: str | None = None
    type: str | None = None
    pools: list[msgspec.Raw] | None = None
    pool_addresses: list[msgspec.Raw] | None = None
    protocols: list[object] | None = None
    snapshot_id: int | str | None = None
    part: int | None = None
    parts: int | None = None


class _Token(msgspec.Struct):
    address: str
    decimals: int | None = None
    symbol: str | None = None
    fee_on_transfer: bool = False


class _Pool(msgspec.Struct):
    """Nested and flat in one: `token0` is an object or an address."""

    token0: _Token | str
    token1: _Token | str
    protocol: str
    address: str | None = None
    id: str | None = None
    pool_id: str | None = None
    fee: int | None = None
    tick_spacing: int | None = None
    factory: str | None = None
    hooks: str | None = None
    token0_decimals: int | None = None
    token1_decimals: int | None = None


class _Identified(msgspec.Struct):
    address: str | None = None
    id: str | None = None
    pool_id: str | None = None


_envelopes = msgspec.json.Decoder(_Envelope)
_pools = msgspec.json.Decoder(_Pool, strict=False)
_identified: msgspec.json.Decoder[_Identified | str] = msgspec.json.Decoder(_Identified | str)


def subjects(chain: str) -> str:
    """The NATS wildcard for all messages about the chain's pools."""
    return f"whitelist.pools.{chain}.>"


def decode_message(subject: str, payload: bytes, chain: str) -> Message:
    """Raises Rejected."""
    kind = _subject_kind(subject, chain)
    try:
        envelope = decode_json(_envelopes, payload)
    except ValueError as error:
        raise Rejected(f"{subject}: {error}") from error
    if envelope.chain is not None and envelope.chain != chain:
        raise Rejected(f"{subject}: the message is of chain {envelope.chain!r}, this is {chain!r}")
    action, said = _action(subject, kind, envelope)
    listed = envelope.pools if envelope.pools is not None else envelope.pool_addresses
    if action == "remove" and envelope.pool_addresses is not None:
        listed = envelope.pool_addresses
    if listed is None:
        raise Rejected(f"{subject}: the message names no pools")
    if envelope.protocols is not None and len(envelope.protocols) != len(listed):
        raise Rejected(f"{subject}: {len(envelope.protocols)} protocols for {len(listed)} pools")
    protocols = None if envelope.protocols is None else tuple(envelope.protocols)
    return Message(kind, action, said, tuple(listed), protocols, _part(subject, envelope))


def _subject_kind(subject: str, chain: str) -> SubjectKind:
    prefix = f"whitelist.pools.{chain}."
    kind, *rest = subject.removeprefix(prefix).split(".")
    if subject.startswith(prefix) and (not rest or rest[0] == "part"):
        match kind:
            case "minimal" | "full" | "add" | "remove":
                return kind
    raise Rejected(f"{subject} is no subject of {chain}'s whitelist")


def _action(subject: str, kind: SubjectKind, envelope: _Envelope) -> tuple[Action, bool]:
    if kind in ("add", "remove"):
        return kind, True
    match envelope.type and envelope.type.lower():
        case None:
            return "full", False
        case ("full" | "add" | "remove") as action:
            return action, True
    raise Rejected(f"{subject}: type {envelope.type!r} is none of full, add and remove")


def _part(subject: str, envelope: _Envelope) -> Part | None:
    if envelope.part is None and envelope.parts is None:
        return None
    part = Part(str(envelope.snapshot_id), envelope.part or 0, envelope.parts or 0)
    if envelope.snapshot_id is None or not 1 <= part.number <= part.of:
        raise Rejected(f"{subject}: part {envelope.part} of {envelope.parts} of snapshot {envelope.snapshot_id}")
    return part


def decode_pool(entry: msgspec.Raw) -> PoolMetadata:
    """Raises Undecodable."""
    try:
        read = decode_json(_pools, entry)
    except ValueError as error:
        raise Undecodable(str(error)) from error
    protocol = protocol_name(read.protocol)
    creation = dex_of(protocol).creation
    tokens = (_token(read.token0, read.token0_decimals), _token(read.token1, read.token1_decimals))
    if tokens[0].address == tokens[1].address:
        raise Undecodable(f"both tokens are {tokens[0].address}")
    found = PoolMetadata(
        id=_fitting(_identifier(read), protocol),
        protocol=protocol,
        token0=tokens[0],
        token1=tokens[1],
        fee=None if creation.fee is None else _number("fee", read.fee, 0, LARGEST_UINT24, protocol),
        tick_spacing=None
        if creation.tick_spacing is None
        else _number("tick_spacing", read.tick_spacing, 1, LARGEST_TICK_SPACING, protocol),
        factory=None if not read.factory else _address(read.factory),
        hooks=None if not read.hooks or creation.hooks is None else _address(read.hooks),
    )
    return found


def decode_pool_id(entry: msgspec.Raw) -> PoolId:
    """Of an entry that is an id, or a pool of which only the id may be valid. Raises Undecodable."""
    try:
        return _identifier(decode_json(_identified, entry))
    except ValueError as error:
        raise Undecodable(str(error)) from error


def decode_protocol(pool: PoolId, name: object) -> ProtocolName | None:
    """A 64-digit id is a V4 pool even without `protocols`; None: unknown. Raises Undecodable."""
    if name is None:
        return protocol_of_id(pool)
    protocol = protocol_name(str(name))
    _fitting(pool, protocol)
    return protocol


def protocol_name(name: str) -> ProtocolName:
    protocol = name.lower().replace("_", "").removeprefix("uniswap")
    if protocol not in NAMES:
        raise Undecodable(f"protocol {name!r} is not followed")
    return protocol


def _identifier(entry: _Pool | _Identified | str) -> PoolId:
    named = [entry] if isinstance(entry, str) else [entry.pool_id, entry.id, entry.address]
    text = next((text for text in named if text), None)
    if text is None or not HEX.fullmatch(text):
        raise Undecodable(f"{text!r} is neither an address nor a pool id")
    return PoolId(text.lower())


def _fitting(pool: PoolId, protocol: ProtocolName) -> PoolId:
    if not can_be(pool, protocol):
        raise Undecodable(f"{pool} cannot be a {protocol} pool: V4 pools have 64 digits, the others 40")
    return pool


def _token(token: _Token | str, decimals: int | None) -> Token:
    if isinstance(token, str):
        return Token(_address(token), decimals)
    return Token(_address(token.address), token.decimals, token.symbol, token.fee_on_transfer)


def _address(text: str) -> str:
    if not HEX.fullmatch(text) or len(text) == SINGLETON_ID:
        raise Undecodable(f"{text!r} is no address")
    return text.lower()


def _number(name: str, value: int | None, least: int, most: int, protocol: ProtocolName) -> int:
    if value is None:
        raise Undecodable(f"a {protocol} pool needs its {name}")
    if not least <= value <= most:
        raise Undecodable(f"{name} {value} is not in {least}..{most}")
    return value
