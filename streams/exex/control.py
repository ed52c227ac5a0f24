"""The control protocol of an ExEx: its messages, and their bytes both ways.

PURE. A frame is `length u32 | payload`. The protocol carries no version, so the decoder refuses on the first doubt.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from protocols.events import LiquidityChange, Swap, Sync
from protocols.types import PoolId, ProtocolName
from streams.exex import control_frames as frames
from streams.exex.control_frames import BadFrame, Layout

LARGEST_FRAME = 1 << 20
PREFIX = 4

UpdateType = Literal["swap", "mint", "burn"]
UPDATE_TYPES: tuple[UpdateType, ...] = ("swap", "mint", "burn")


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
    event: Sync | Swap | LiquidityChange


class Skipped(msgspec.Struct, frozen=True):
    """An update of a DEX that is not followed; it counts in stream_seq and num_updates."""

    stream_seq: int
    tag: int
    """Of the wire's PoolUpdate."""


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


class Slot0Final(msgspec.Struct, frozen=True):
    pool: PoolId
    protocol: ProtocolName
    sqrt_price_x96: int
    liquidity: int
    tick: int


class V2ReservesFinal(msgspec.Struct, frozen=True):
    pool: PoolId
    reserve0: int
    reserve1: int


class FluidStateFinal(msgspec.Struct, frozen=True):
    """Of a DEX that is not followed."""

    pool: PoolId


class ReorgEpilogue(msgspec.Struct, frozen=True):
    stream_seq: int
    final_tip_block: int
    final_tip_timestamp: int
    update: Slot0Final | V2ReservesFinal | FluidStateFinal


class ReorgComplete(msgspec.Struct, frozen=True):
    stream_seq: int
    final_tip_block: int


class Ping(msgspec.Struct, frozen=True):
    """Says nothing; the decoder drops it."""


class Pong(msgspec.Struct, frozen=True):
    """Says nothing; the decoder drops it."""


Message = BeginBlock | PoolUpdate | Skipped | EndBlock | ReorgStart | ReorgEpilogue | ReorgComplete

Sent = BeginBlock | PoolUpdate | EndBlock | ReorgStart | ReorgEpilogue | ReorgComplete | Ping | Pong

PLAIN_LAYOUTS: dict[int, tuple[Layout, type[BeginBlock | EndBlock | Ping | Pong | ReorgComplete]]] = {
    1: (frames.BEGIN_BLOCK, BeginBlock),
    3: (frames.END_BLOCK, EndBlock),
    4: (frames.PING, Ping),
    5: (frames.PONG, Pong),
    8: (frames.REORG_COMPLETE, ReorgComplete),
}
"""By the wire's tag of ControlMessage."""
UPDATE_LAYOUTS: dict[int, tuple[Layout, ProtocolName, type[Sync | Swap | LiquidityChange]]] = {
    2: (frames.V3_SWAP, "v3", Swap),
    3: (frames.V3_LIQUIDITY, "v3", LiquidityChange),
    4: (frames.V4_SWAP, "v4", Swap),
    5: (frames.V4_LIQUIDITY, "v4", LiquidityChange),
    22: (frames.V2_SYNC, "v2", Sync),
}
"""By the wire's tag of PoolUpdate. The fields of the events stand in the same order in both."""
RETIRED_TAGS = (0, 1)
OTHER_DEX_TAGS = range(6, 22)
OTHER_DEX_PROTOCOLS = range(3, 9)


class Decoder:
    """Bytes in any cuts become messages. Once it has raised BadFrame it is of no more use."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._read = 0
        """Bytes of the stream before the buffer."""

    def feed(self, data: bytes) -> list[Message]:
        self._buffer += data
        messages, position = [], 0
        while (end := self._end_of_frame(position)) is not None:
            payload = bytes(self._buffer[position + PREFIX : end])
            message = decode(payload, self._read + position + PREFIX)
            if not isinstance(message, Ping | Pong):
                messages.append(message)
            position = end
        del self._buffer[:position]
        self._read += position
        return messages

    def _end_of_frame(self, position: int) -> int | None:
        """None while the frame is not all there."""
        if len(self._buffer) < position + PREFIX:
            return None
        length = int.from_bytes(self._buffer[position : position + PREFIX], "little")
        if length > LARGEST_FRAME or length < PREFIX:
            reason = f"a frame of {length} bytes; {PREFIX} to {LARGEST_FRAME} are possible"
            raise BadFrame(self._read + position, reason)
        end = position + PREFIX + length
        return end if end <= len(self._buffer) else None


def decode(payload: bytes, start: int = PREFIX) -> Message | Ping | Pong:
    """`start` is where the payload stands in the stream, for the error's sake. Raises BadFrame."""
    tag = _u32(payload, 0, start)
    if tag in PLAIN_LAYOUTS:
        layout, message = PLAIN_LAYOUTS[tag]
        return message(*layout.read(payload, start))
    if tag not in COMPOSED:
        raise BadFrame(start, f"a feed sends no message of tag {tag}")
    return COMPOSED[tag](payload, start)


def _pool_update(payload: bytes, start: int) -> PoolUpdate | Skipped:
    header = frames.UPDATE_OF_POOL_ID if _u32(payload, 12, start) == 1 else frames.UPDATE_OF_ADDRESS
    tag_at = header.size - 4
    tag = _u32(payload, tag_at, start)
    if tag not in UPDATE_LAYOUTS:
        return _skipped(header, tag, payload, start)
    layout, protocol, event = UPDATE_LAYOUTS[tag]
    stream_seq, pool, update_type, number, timestamp, tx_index, log_index, is_revert, *values = layout.read(
        payload, start
    )
    return PoolUpdate(
        stream_seq=stream_seq,
        pool=PoolId(pool),
        protocol=protocol,
        update_type=UPDATE_TYPES[update_type],
        block_number=number,
        block_timestamp=timestamp,
        tx_index=tx_index,
        log_index=log_index,
        is_revert=is_revert,
        event=event(*values),
    )


def _skipped(header: Layout, tag: int, payload: bytes, start: int) -> Skipped:
    """A V2 pool's retired deltas are refused: skipping them would leave its reserves wrong."""
    if tag in RETIRED_TAGS:
        raise BadFrame(start + header.size - 4, f"update tag {tag} is a retired V2 delta; reserves come as V2Sync")
    if tag not in OTHER_DEX_TAGS:
        raise BadFrame(start + header.size - 4, f"there is no update of tag {tag}")
    stream_seq, _, protocol, *_ = header.read(payload[: header.size], start)
    if protocol not in OTHER_DEX_PROTOCOLS:
        raise BadFrame(start + header.size - 45, f"update tag {tag} does not go with protocol {protocol}")
    return Skipped(stream_seq, tag)


def _reorg_start(payload: bytes, start: int) -> ReorgStart:
    if len(payload) == frames.PURE_REVERT.size:
        stream_seq, *old_and_nothing = frames.PURE_REVERT.read(payload, start)
        return ReorgStart(stream_seq, ReorgRange(*old_and_nothing[:3]), ReorgRange(None, None, 0))
    stream_seq, *ranges = frames.REORG_START.read(payload, start)
    return ReorgStart(stream_seq, ReorgRange(*ranges[:3]), ReorgRange(*ranges[3:]))


def _epilogue(payload: bytes, start: int) -> ReorgEpilogue:
    update: Slot0Final | V2ReservesFinal | FluidStateFinal
    match _u32(payload, 28, start), _u32(payload, 32, start):
        case 0, 0:
            *tip, pool, price, liquidity, tick = frames.V3_FINAL.read(payload, start)
            update = Slot0Final(pool, "v3", price, liquidity, tick)
        case 0, 1:
            *tip, pool, price, liquidity, tick = frames.V4_FINAL.read(payload, start)
            update = Slot0Final(pool, "v4", price, liquidity, tick)
        case 1, _:
            *tip, pool = frames.FLUID_FINAL.read(payload, start)[:4]
            update = FluidStateFinal(pool)
        case 2, _:
            *tip, pool, reserve0, reserve1 = frames.V2_FINAL.read(payload, start)
            update = V2ReservesFinal(pool, reserve0, reserve1)
        case tag, identifier:
            raise BadFrame(start + 28, f"there is no epilogue of tag {tag} for a pool identifier of tag {identifier}")
    stream_seq, tip_block, tip_timestamp = tip
    return ReorgEpilogue(stream_seq, tip_block, tip_timestamp, update)


def _u32(payload: bytes, at: int, start: int) -> int:
    if len(payload) < at + 4:
        raise BadFrame(start + at, f"the frame ends after {len(payload)} bytes, before its tag")
    return int.from_bytes(payload[at : at + 4], "little")


COMPOSED: dict[int, Callable[[bytes, int], Message]] = {2: _pool_update, 6: _reorg_start, 7: _epilogue}


def encode(message: Sent) -> bytes:
    """The frame, length first; struct.error or OverflowError where a value does not fit its field."""
    payload = _payload(message)
    return len(payload).to_bytes(PREFIX, "little") + payload


def _payload(message: Sent) -> bytes:
    match message:
        case PoolUpdate():
            return _update_payload(message)
        case ReorgStart(stream_seq, old, ReorgRange(first=None, last=None, count=0)):
            return frames.PURE_REVERT.write(stream_seq, *_values(old), None, None)
        case ReorgStart(stream_seq, old, new):
            return frames.REORG_START.write(stream_seq, *_values(old), *_values(new))
        case ReorgEpilogue():
            return _epilogue_payload(message)
        case _:
            layout = next(layout for layout, plain in PLAIN_LAYOUTS.values() if plain is type(message))
            return layout.write(*_values(message))


def _update_payload(update: PoolUpdate) -> bytes:
    layout = next(
        layout
        for layout, protocol, event in UPDATE_LAYOUTS.values()
        if protocol == update.protocol and event is type(update.event)
    )
    place = (update.block_number, update.block_timestamp, update.tx_index, update.log_index, update.is_revert)
    update_type = UPDATE_TYPES.index(update.update_type)
    return layout.write(update.stream_seq, update.pool, update_type, *place, *_values(update.event))


def _epilogue_payload(epilogue: ReorgEpilogue) -> bytes:
    tip = (epilogue.stream_seq, epilogue.final_tip_block, epilogue.final_tip_timestamp)
    match epilogue.update:
        case Slot0Final(pool, protocol, price, liquidity, tick):
            layout = frames.V4_FINAL if protocol == "v4" else frames.V3_FINAL
            return layout.write(*tip, pool, price, liquidity, tick)
        case V2ReservesFinal(pool, reserve0, reserve1):
            return frames.V2_FINAL.write(*tip, pool, reserve0, reserve1)
        case FluidStateFinal(pool):
            return frames.FLUID_FINAL.write(*tip, pool, *[0] * 10)


def _values(record: msgspec.Struct) -> tuple[Any, ...]:
    return msgspec.structs.astuple(record)
