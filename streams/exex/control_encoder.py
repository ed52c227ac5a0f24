"""Messages of the control protocol to frames: `length u32 | payload`. Pure."""

from typing import Any

import msgspec

from streams.exex import control_layouts as layouts
from streams.exex.control import PREFIX
from streams.exex.control_layouts import FINALS_BY_PROTOCOL, PLAIN, UPDATE_TYPES, UPDATES_BY_EVENT
from streams.exex.control_messages import (
    PoolFinal,
    PoolUpdate,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
    Sent,
)


class NotOnWire(ValueError):
    """The control protocol has no frame for what should be sent."""


def encode(message: Sent) -> bytes:
    """The frame, length first. Raises NotOnWire; struct.error, OverflowError or ValueError for values out of range."""
    payload = _payload(message)
    return len(payload).to_bytes(PREFIX, "little") + payload


def _payload(message: Sent) -> bytes:
    match message:
        case PoolUpdate():
            return _update_payload(message)
        case ReorgStart(stream_seq, old, ReorgRange(first=None, last=None, count=0)):
            return layouts.PURE_REVERT.write(stream_seq, *_values(old), None, None)
        case ReorgStart(stream_seq, old, new):
            return layouts.REORG_START.write(stream_seq, *_values(old), *_values(new))
        case ReorgEpilogue():
            return _epilogue_payload(message)
        case _:
            layout = next(layout for layout, plain in PLAIN.values() if plain is type(message))
            return layout.write(*_values(message))


def _update_payload(update: PoolUpdate) -> bytes:
    row = UPDATES_BY_EVENT.get((update.protocol, type(update.event)))
    if row is None:
        raise NotOnWire(f"no feed sends a {type(update.event).__name__} of a {update.protocol} pool")
    if not update.has_sign_of_its_type:
        raise NotOnWire(f"no feed sends a {update.update_type} of {update.event}")
    place = (update.block_number, update.block_timestamp, update.tx_index, update.log_index, update.is_revert)
    update_type = UPDATE_TYPES.index(update.update_type)
    return row.layout.write(update.stream_seq, update.pool, update_type, *place, *row.values(update.event))


def _epilogue_payload(epilogue: ReorgEpilogue) -> bytes:
    final = epilogue.update
    if not isinstance(final, PoolFinal):
        raise NotOnWire("the final state of a DEX that is not followed is only read")
    row = FINALS_BY_PROTOCOL[final.protocol]
    tip = (epilogue.stream_seq, epilogue.final_tip_block, epilogue.final_tip_timestamp)
    return row.layout.write(*tip, final.pool, *row.values(final.price))


def _values(record: msgspec.Struct) -> tuple[Any, ...]:
    return msgspec.structs.astuple(record)
