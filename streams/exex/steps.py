"""What the messages of either wire are assembled to: a whole block, or a reorg. Pure."""

import msgspec

from protocols.registry import Event, PriceState
from protocols.types import AmountOutOfBounds, PoolId, check_amounts
from streams.exex.violations import ImpossibleAmount


class AssembledBlock(msgspec.Struct, frozen=True):
    number: int
    timestamp: int | None
    """Seconds since the epoch; None: not on the wire."""
    base_fee: int | None
    """Wei per gas; None: not on the wire."""
    updates: dict[PoolId, tuple[Event, ...]]
    """In log order per pool."""
    part: int = 0
    """Above 0 where a wire without block marks went silent in the middle of the block."""


class AssembledReorg(msgspec.Struct, frozen=True):
    ancestor: int
    """The highest block that stays."""
    blocks: tuple[AssembledBlock, ...]
    """The new blocks, ascending; empty where the chain got shorter or the wire sends them as blocks of their own."""


Step = AssembledBlock | AssembledReorg


def check_amounts_of(number: int, pool: PoolId, record: Event | PriceState) -> None:
    """Raises ImpossibleAmount."""
    try:
        check_amounts(record)
    except AmountOutOfBounds as error:
        raise ImpossibleAmount(number, pool, error) from error
