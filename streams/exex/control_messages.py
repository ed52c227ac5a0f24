"""The messages of the control protocol as records. Pure."""

import msgspec

from protocols.dex import UpdateType
from protocols.registry import Event, PriceState
from protocols.ticks import LiquidityChange
from protocols.types import PoolId, ProtocolName


class BeginBlock(msgspec.Struct, frozen=True):
    stream_seq: int
    block_number: int
    block_timestamp: int
    """Seconds since the epoch."""
    base_fee_per_gas: int
    """Wei; 0 before London."""
    is_revert: bool


class PoolUpdate(msgspec.Struct, frozen=True):
    stream_seq: int
    pool: PoolId
    protocol: ProtocolName
    update_type: UpdateType
    block_number: int
    block_timestamp: int
    tx_index: int
    log_index: int
    """Counts within the transaction's receipt."""
    is_revert: bool
    """The block is being taken back; the event is as it was, not inverted."""
    event: Event

    @property
    def has_sign_of_its_type(self) -> bool:
        """Whether it is no mint that takes liquidity away, and no burn that adds some; 0 is a poke of either type."""
        if not isinstance(self.event, LiquidityChange):
            return True
        return self.event.delta >= 0 if self.update_type == "mint" else self.event.delta <= 0


class Skipped(msgspec.Struct, frozen=True):
    """An update of a DEX that is not followed; it counts in stream_seq and num_updates."""

    stream_seq: int
    tag: int
    """Of the wire's PoolUpdate."""
    block_number: int
    block_timestamp: int
    is_revert: bool


class EndBlock(msgspec.Struct, frozen=True):
    stream_seq: int
    block_number: int
    num_updates: int


class ReorgRange(msgspec.Struct, frozen=True):
    first: int | None
    last: int | None
    count: int


class ReorgStart(msgspec.Struct, frozen=True):
    stream_seq: int
    old: ReorgRange
    new: ReorgRange
    """Empty (None, None, 0) where the chain only got shorter."""


class PoolFinal(msgspec.Struct, frozen=True):
    """A pool's price or reserves at the tip of a reorg."""

    pool: PoolId
    protocol: ProtocolName
    price: PriceState


class SkippedFinal(msgspec.Struct, frozen=True):
    """Of a DEX that is not followed."""

    tag: int
    """Of the wire's ReorgEpilogueUpdate."""


class ReorgEpilogue(msgspec.Struct, frozen=True):
    stream_seq: int
    final_tip_block: int
    final_tip_timestamp: int
    update: PoolFinal | SkippedFinal


class ReorgComplete(msgspec.Struct, frozen=True):
    stream_seq: int
    final_tip_block: int


class Ping(msgspec.Struct, frozen=True):
    """Carries nothing; the decoder drops it."""


class Pong(msgspec.Struct, frozen=True):
    """Carries nothing; the decoder drops it."""


Message = BeginBlock | PoolUpdate | Skipped | EndBlock | ReorgStart | ReorgEpilogue | ReorgComplete

Sent = BeginBlock | PoolUpdate | EndBlock | ReorgStart | ReorgEpilogue | ReorgComplete | Ping | Pong
"""What a feed can send; Skipped and SkippedFinal are only received."""
