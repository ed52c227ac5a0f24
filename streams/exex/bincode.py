"""Records of constant size in bincode 1.3: little-endian, enum tags and lengths spelled out and checked. Pure.

A layout is written `name:type` or `name=constant:type`, blank-separated, in wire order; reading gives the values that
are not constant, writing takes them. `u32[1,2]` is a tag of which only these values are right.
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


def _int24(value: int) -> int:
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
    "i32": Kind("i", _same, _one),
    "i24": Kind("i", _int24, _one),
    "some": Kind("BQ", lambda tag, value: _one_of(1)(tag) and value, lambda value: (1, value)),
    "none": Kind("B", lambda tag: _one_of(0)(tag) or None, lambda _: (0,)),
    "address": Kind("Q20s", _sized(20, _hex), lambda value: (20, _unhex(value))),
    "pool_id": Kind("32s", _hex, lambda value: (_unhex(value),)),
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

    def offset_of(self, name: str) -> int | None:
        """In bytes; None for a field that the layout does not have."""
        return next((field.offset for field in self.fields if field.name == name), None)


def _fields(fields: str) -> list[Field]:
    parsed: list[Field] = []
    offset, first = 0, 0
    for item in fields.split():
        name, kind_name = item.split(":")
        name, _, constant = name.partition("=")
        kind = _kind(kind_name)
        size = struct.calcsize("<" + kind.codes)
        end = first + len(struct.unpack("<" + kind.codes, bytes(size)))
        parsed.append(Field(name, kind, int(constant) if constant else None, offset, first, end))
        offset, first = offset + size, end
    return parsed


def _kind(name: str) -> Kind:
    if not name.startswith("u32["):
        return KINDS[name]
    one_of = _one_of(*map(int, name.removeprefix("u32[").removesuffix("]").split(",")))
    return Kind("I", one_of, lambda value: (one_of(value),))
