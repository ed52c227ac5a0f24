"""Every frame of the control protocol, field by field: bincode 1.3, little-endian, constants spelled out and checked.

A layout is written `name:type` or `name=constant:type`, blank-separated, in wire order; reading gives the values that
are not constant, writing takes them.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

INT24 = range(-(2**23), 2**23)


class BadFrame(Exception):
    """The bytes are no frame of the protocol; nothing after them can be trusted."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"at byte {offset} of the stream: {reason}")
        self.offset = offset
        """Counts from the first byte the decoder was fed."""


class Kind(NamedTuple):
    codes: str
    """How `struct` sees it."""
    read: Callable[..., Any]
    """The value of the struct's items; ValueError if they cannot be one."""
    write: Callable[[Any], Sequence[Any]]


def _same(value: Any) -> Any:
    return value


def _one(value: Any) -> Sequence[Any]:
    return (value,)


def _bool(byte: int) -> bool:
    if byte > 1:
        raise ValueError(f"{byte} is no bool")
    return byte == 1


def _sized(size: int, convert: Callable[[bytes], Any]) -> Callable[[int, bytes], Any]:
    def read(length: int, value: bytes) -> Any:
        if length != size:
            raise ValueError(f"length {length} instead of {size}")
        return convert(value)

    return read


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _unhex(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _one_of(*values: int) -> Callable[[int], int]:
    def read(value: int) -> int:
        if value not in values:
            raise ValueError(f"{value} is none of {values}")
        return value

    return read


def _tick(value: int) -> int:
    if value not in INT24:
        raise ValueError(f"{value} is no int24")
    return value


def _halves(value: int) -> Sequence[int]:
    return (value & (2**64 - 1), value >> 64)


KINDS = {
    "u32": Kind("I", _same, _one),
    "u64": Kind("Q", _same, _one),
    "u128": Kind("QQ", lambda low, high: low | high << 64, _halves),
    "i128": Kind("Qq", lambda low, high: low | high << 64, _halves),
    "u256": Kind("Q32s", _sized(32, int.from_bytes), lambda value: (32, value.to_bytes(32))),
    "bool": Kind("B", _bool, _one),
    "tick": Kind("i", _tick, _one),
    "some": Kind("BQ", lambda tag, value: _one_of(1)(tag) and value, lambda value: (1, value)),
    "none": Kind("B", lambda tag: _one_of(0)(tag) or None, lambda _: (0,)),
    "address": Kind("Q20s", _sized(20, _hex), lambda value: (20, _unhex(value))),
    "pool_id": Kind("32s", _hex, lambda value: (_unhex(value),)),
    "update_type": Kind("I", _one_of(0, 1, 2), _one),
    "swap_type": Kind("I", _one_of(0), _one),
    "liquidity_type": Kind("I", _one_of(1, 2), _one),
}


class Field(NamedTuple):
    name: str
    kind: Kind
    constant: int | None
    offset: int
    first: int
    """Index of its first item in what `struct` unpacks."""
    end: int


class Layout:
    def __init__(self, name: str, fields: str) -> None:
        self.name = name
        self.fields = tuple(_fields(fields))
        self._struct = struct.Struct("<" + "".join(field.kind.codes for field in self.fields))
        self.size = self._struct.size

    def read(self, payload: bytes, start: int) -> list[Any]:
        """`start` is where the payload stands in the stream. Raises BadFrame."""
        if len(payload) != self.size:
            raise BadFrame(start, f"{self.name} takes {self.size} bytes, this frame has {len(payload)}")
        items = self._struct.unpack(payload)
        values = []
        for field in self.fields:
            try:
                value = field.kind.read(*items[field.first : field.end])
            except ValueError as error:
                raise BadFrame(start + field.offset, f"{field.name} of {self.name}: {error}") from error
            if field.constant is None:
                values.append(value)
            elif value != field.constant:
                fault = f"{field.name} of {self.name} is {value} instead of {field.constant}"
                raise BadFrame(start + field.offset, fault)
        return values

    def write(self, *values: Any) -> bytes:
        given = iter(values)
        items: list[Any] = []
        for field in self.fields:
            items += field.kind.write(next(given) if field.constant is None else field.constant)
        return self._struct.pack(*items)


def _fields(fields: str) -> list[Field]:
    parsed: list[Field] = []
    offset, first = 0, 0
    for item in fields.split():
        name, kind = item.split(":")
        name, _, constant = name.partition("=")
        end = first + len(struct.unpack("<" + KINDS[kind].codes, bytes(struct.calcsize("<" + KINDS[kind].codes))))
        parsed.append(Field(name, KINDS[kind], int(constant) if constant else None, offset, first, end))
        offset, first = offset + struct.calcsize("<" + KINDS[kind].codes), end
    return parsed


BEGIN_BLOCK = Layout(
    "BeginBlock",
    "tag=1:u32 stream_seq:u64 block_number:u64 block_timestamp:u64 base_fee_per_gas:u64 is_revert:bool",
)
END_BLOCK = Layout("EndBlock", "tag=3:u32 stream_seq:u64 block_number:u64 num_updates:u64")
PING = Layout("Ping", "tag=4:u32")
PONG = Layout("Pong", "tag=5:u32")
REORG_COMPLETE = Layout("ReorgComplete", "tag=8:u32 stream_seq:u64 final_tip_block:u64")

_OLD = "tag=6:u32 stream_seq:u64 old_first:some old_last:some old_count:u64"
REORG_START = Layout("ReorgStart", f"{_OLD} new_first:some new_last:some new_count:u64")
PURE_REVERT = Layout("ReorgStart (pure revert)", f"{_OLD} new_first:none new_last:none new_count=0:u64")

_ADDRESS = "tag=2:u32 stream_seq:u64 identifier=0:u32 pool:address"
_POOL_ID = "tag=2:u32 stream_seq:u64 identifier=1:u32 pool:pool_id"
_PLACE = "block_number:u64 block_timestamp:u64 tx_index:u64 log_index:u64 is_revert:bool"
_SWAP = "sqrt_price_x96:u256 liquidity:u128 tick:tick"
_LIQUIDITY = "tick_lower:tick tick_upper:tick liquidity_delta:i128"
V2_SYNC = Layout(
    "V2Sync", f"{_ADDRESS} protocol=0:u32 type:update_type {_PLACE} update=22:u32 reserve0:u128 reserve1:u128"
)
V3_SWAP = Layout("V3Swap", f"{_ADDRESS} protocol=1:u32 type:swap_type {_PLACE} update=2:u32 {_SWAP}")
V3_LIQUIDITY = Layout(
    "V3Liquidity", f"{_ADDRESS} protocol=1:u32 type:liquidity_type {_PLACE} update=3:u32 {_LIQUIDITY}"
)
V4_SWAP = Layout("V4Swap", f"{_POOL_ID} protocol=2:u32 type:swap_type {_PLACE} update=4:u32 {_SWAP}")
V4_LIQUIDITY = Layout(
    "V4Liquidity", f"{_POOL_ID} protocol=2:u32 type:liquidity_type {_PLACE} update=5:u32 {_LIQUIDITY}"
)
UPDATE_OF_ADDRESS = Layout("PoolUpdate", f"{_ADDRESS} protocol:u32 type:update_type {_PLACE} update:u32")
UPDATE_OF_POOL_ID = Layout("PoolUpdate", f"{_POOL_ID} protocol:u32 type:update_type {_PLACE} update:u32")

_TIP = "tag=7:u32 stream_seq:u64 final_tip_block:u64 final_tip_timestamp:u64"
V3_FINAL = Layout("Slot0Final", f"{_TIP} update=0:u32 identifier=0:u32 pool:address protocol=1:u32 {_SWAP}")
V4_FINAL = Layout("Slot0Final", f"{_TIP} update=0:u32 identifier=1:u32 pool:pool_id protocol=2:u32 {_SWAP}")
FLUID_FINAL = Layout("FluidStateFinal", f"{_TIP} update=1:u32 identifier=0:u32 pool:address " + "state:u128 " * 10)
V2_FINAL = Layout("V2ReservesFinal", f"{_TIP} update=2:u32 identifier=0:u32 pool:address reserve0:u128 reserve1:u128")
