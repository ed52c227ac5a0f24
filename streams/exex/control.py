"""Frames of the control protocol to messages: `length u32 | payload`. Pure.

The protocol carries no version, so the decoder refuses on the first doubt.
"""

from collections.abc import Callable

from protocols.types import PoolId
from streams.exex import control_layouts as layouts
from streams.exex.bincode import BadFrame, Layout
from streams.exex.control_layouts import FINALS, PLAIN, UPDATE_TYPES, UPDATES, Row
from streams.exex.control_messages import (
    Message,
    Ping,
    Pong,
    PoolFinal,
    PoolUpdate,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
    Skipped,
    SkippedFinal,
)

LARGEST_FRAME = 1 << 20
PREFIX = 4


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
    if tag in PLAIN:
        layout, message = PLAIN[tag]
        return message(*layout.read(payload, start))
    if tag not in COMPOSED:
        raise BadFrame(start, f"a feed sends no message of tag {tag}")
    return COMPOSED[tag](payload, start)


def _pool_update(payload: bytes, start: int) -> PoolUpdate | Skipped:
    header = layouts.UPDATE_OF_POOL_ID if _u32(payload, 12, start) == 1 else layouts.UPDATE_OF_ADDRESS
    tag_at = header.size - 4
    tag = _u32(payload, tag_at, start)
    row = UPDATES.get(tag)
    if row is None:
        return _skipped(header, tag, payload, start)
    stream_seq, pool, update_type, number, timestamp, tx_index, log_index, is_revert, *values = row.layout.read(
        payload, start
    )
    update = PoolUpdate(
        stream_seq=stream_seq,
        pool=PoolId(pool),
        protocol=row.protocol,
        update_type=UPDATE_TYPES[update_type],
        block_number=number,
        block_timestamp=timestamp,
        tx_index=tx_index,
        log_index=log_index,
        is_revert=is_revert,
        event=row.make(values),
    )
    if not update.has_sign_of_its_type:
        raise BadFrame(start + header.size, f"a {update.update_type} of a {row.protocol} pool is {update.event}")
    return update


def _skipped(header: Layout, tag: int, payload: bytes, start: int) -> Skipped:
    """A V2 pool's retired deltas are refused: skipping them would leave its reserves wrong."""
    if tag in layouts.RETIRED_UPDATES:
        raise BadFrame(start + header.size - 4, f"update tag {tag} is a retired V2 delta; reserves come as V2Sync")
    if tag not in layouts.OTHER_DEX_UPDATES:
        raise BadFrame(start + header.size - 4, f"there is no update of tag {tag}")
    stream_seq, _, protocol, _, number, timestamp, _, _, is_revert, _ = header.read(payload[: header.size], start)
    if protocol not in layouts.OTHER_DEX_PROTOCOLS:
        raise BadFrame(start + header.size - 45, f"update tag {tag} does not go with protocol {protocol}")
    return Skipped(stream_seq, tag, number, timestamp, is_revert)


def _reorg_start(payload: bytes, start: int) -> ReorgStart:
    if len(payload) == layouts.PURE_REVERT.size:
        stream_seq, *old_and_nothing = layouts.PURE_REVERT.read(payload, start)
        return ReorgStart(stream_seq, ReorgRange(*old_and_nothing[:3]), ReorgRange(None, None, 0))
    stream_seq, *ranges = layouts.REORG_START.read(payload, start)
    return ReorgStart(stream_seq, ReorgRange(*ranges[:3]), ReorgRange(*ranges[3:]))


def _epilogue(payload: bytes, start: int) -> ReorgEpilogue:
    tag, identifier = _u32(payload, 28, start), _u32(payload, 32, start)
    if tag == layouts.FLUID_FINAL_TAG:
        stream_seq, tip_block, tip_timestamp, *_ = layouts.FLUID_FINAL.read(payload, start)
        return ReorgEpilogue(stream_seq, tip_block, tip_timestamp, SkippedFinal(tag))
    row = _final_row(payload, tag, identifier)
    if tag == layouts.SLOT0_FINAL_TAG and row is None and identifier < len(layouts.SLOT0_FINAL_OF_ANY):
        return _skipped_slot0(layouts.SLOT0_FINAL_OF_ANY[identifier], payload, start)
    if row is None:
        raise BadFrame(start + 28, f"there is no epilogue of tag {tag} for a pool identifier of tag {identifier}")
    stream_seq, tip_block, tip_timestamp, pool, *values = row.layout.read(payload, start)
    return ReorgEpilogue(stream_seq, tip_block, tip_timestamp, PoolFinal(PoolId(pool), row.protocol, row.make(values)))


def _final_row(payload: bytes, tag: int, identifier: int) -> Row | None:
    """The row of the DEX that is followed; of several with the same tag, the one of the frame's protocol."""
    rows = [row for of_tag, row in FINALS if of_tag == tag and row.identifier == identifier]
    return next((row for row in rows if row.is_of(payload)), None)


def _skipped_slot0(layout: Layout, payload: bytes, start: int) -> ReorgEpilogue:
    stream_seq, tip_block, tip_timestamp, _, protocol, *_ = layout.read(payload, start)
    if protocol not in layouts.OTHER_DEX_PROTOCOLS:
        fault = f"protocol of {layout.name} is {protocol}, which does not go with such a pool identifier"
        raise BadFrame(start + (layout.offset_of("protocol") or 0), fault)
    return ReorgEpilogue(stream_seq, tip_block, tip_timestamp, SkippedFinal(layouts.SLOT0_FINAL_TAG))


def _u32(payload: bytes, at: int, start: int) -> int:
    if len(payload) < at + 4:
        raise BadFrame(start + at, f"the frame ends after {len(payload)} bytes, before its tag")
    return int.from_bytes(payload[at : at + 4], "little")


COMPOSED: dict[int, Callable[[bytes, int], Message]] = {2: _pool_update, 6: _reorg_start, 7: _epilogue}
