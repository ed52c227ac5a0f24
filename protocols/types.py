"""What every DEX has in common: pools, blocks, raw logs, and the bases of events and states."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, NewType

import msgspec

PoolId = NewType("PoolId", str)
"""Lower-case 0x hex: the 20-byte address of a V2 or V3 pool, the 32-byte id of a V4 pool."""

ADDRESS = re.compile("0x[0-9a-f]{40}")
NATIVE = "0x" + "00" * 20
"""Stands for the chain's own coin."""
POOL_ID_LENGTH = 66
"""Characters of a V4 pool's id."""
LARGEST_TICK_SPACING = 2**15 - 1
_POOL_ID = re.compile("0x(?:[0-9a-f]{40}|[0-9a-f]{64})")


def pool_id(text: str) -> PoolId | None:
    """None if the text, taken in any case, is no pool's id."""
    lower = text.lower()
    return PoolId(lower) if _POOL_ID.fullmatch(lower) else None


ProtocolName = str
"""The name of a DEX in `protocols.registry`; what is read from outside is checked against the registry there."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A block's number, or a count; what is read and is neither is refused."""


class Block(msgspec.Struct, frozen=True):
    number: Natural
    hash: str
    """Lower-case 0x hex, 32 bytes."""


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    address: str
    """Lower-case 0x hex; 0x00…00 is the native coin."""
    decimals: int | None = None
    symbol: str | None = None
    fee_on_transfer: bool = False
    """The list marks it as a token that delivers less than is sent."""


class PoolMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pool as a whitelist describes it; nothing of it changes with the chain."""

    id: PoolId
    protocol: ProtocolName
    token0: Token
    token1: Token
    fee: int | None = None
    """Hundredths of a basis point; None for V2. 0x800000 marks a V4 pool with a dynamic fee."""
    tick_spacing: int | None = None
    factory: str | None = None
    """The factory of a V2 or V3 pool, the PoolManager of a V4 pool, where the list names it."""
    hooks: str | None = None
    """Of a V4 pool, where the list names them; 0x00…00: it has none."""


class Log(msgspec.Struct, frozen=True):
    """One log as `eth_getLogs` gives it, hex decoded."""

    address: str
    """Lower-case 0x hex."""
    topics: tuple[bytes, ...]
    data: bytes
    transaction_index: int
    log_index: int
    """Counts within the block, as the node numbers it."""


class Event(msgspec.Struct, frozen=True):
    """What one log does to a pool. Each kind of event is tagged; `protocols.registry` has the union of them."""


Uint24 = Annotated[int, msgspec.Meta(extra={"bounds": range(1 << 24)})]
Uint112 = Annotated[int, msgspec.Meta(extra={"bounds": range(1 << 112)})]
Uint128 = Annotated[int, msgspec.Meta(extra={"bounds": range(1 << 128)})]
Uint160 = Annotated[int, msgspec.Meta(extra={"bounds": range(1 << 160)})]
Int24 = Annotated[int, msgspec.Meta(extra={"bounds": range(-(1 << 23), 1 << 23)})]
Int128 = Annotated[int, msgspec.Meta(extra={"bounds": range(-(1 << 127), 1 << 127)})]


class AmountOutOfBounds(Exception):
    """A field holds an integer that its contract's type cannot."""

    def __init__(self, field: str, value: int, bounds: range) -> None:
        super().__init__(f"{field} is {value:#x}, and it is {bounds.start:#x} to {bounds.stop - 1:#x}")


@cache
def bounds_of(record: type[msgspec.Struct]) -> Mapping[str, range]:
    """By field, as its type declares them; msgspec's own bounds end at 64 bits."""
    return {
        field.name: meta.extra["bounds"]
        for field in msgspec.structs.fields(record)
        for meta in getattr(field.type, "__metadata__", ())
        if isinstance(meta, msgspec.Meta) and meta.extra and "bounds" in meta.extra
    }


def check_amounts(*records: msgspec.Struct) -> None:
    """Raises AmountOutOfBounds for the first field that no contract can hold; fields without bounds pass."""
    for record in records:
        for field, low, end in _limits(type(record)):
            if not low <= getattr(record, field) < end:
                raise AmountOutOfBounds(field, getattr(record, field), range(low, end))


@cache
def _limits(record: type[msgspec.Struct]) -> tuple[tuple[str, int, int], ...]:
    return tuple((field, bounds.start, bounds.stop) for field, bounds in bounds_of(record).items())


class PriceState(msgspec.Struct, frozen=True):
    """The small part of a pool's state, that nearly every block changes: all of it but the ticks."""


class State(msgspec.Struct, frozen=True):
    """A pool's whole state at the end of a block, as a snapshot carries it; tagged with its protocol's name."""
