"""What every DEX has in common: pools, blocks, raw logs, and the bases of events and states."""

import re
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


Int24 = Annotated[int, msgspec.Meta(description="int24")]
"""A tick. Unlike an amount it is a number in JSON answers, for every reader holds it exactly."""


class PriceState(msgspec.Struct, frozen=True):
    """The small part of a pool's state, that nearly every block changes: all of it but the ticks."""


class State(msgspec.Struct, frozen=True):
    """A pool's whole state at the end of a block, as a snapshot carries it; tagged with its protocol's name."""
