"""The seed document's wire: PoolEvent in bincode without framing, in the spellings of alloy and of ethers.

Pure. Addresses, hashes and U256 are bytes (alloy) or hex strings (ethers), by the length before them; a reorg may
come as a bare struct without its tag. The protocol carries no version, so the decoder refuses on the first doubt.
"""

import re

import msgspec

from protocols import v3
from protocols.concentrated import Swap
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from streams.exex.bincode import BadFrame

PROTOCOL = v3.DEX.name
"""The only DEX of this wire."""
LEAST = 16
"""Enough bytes to recognise a message; none is shorter."""
RAW_ADDRESS, HEX_ADDRESS = 20, 42
RAW_WORD, HEX_WORD = 32, 66
ADDRESS_DIGITS = re.compile(rb"0x[0-9a-f]{40}")
HASH_DIGITS = re.compile(rb"0x[0-9a-f]{64}")
NUMBER_DIGITS = re.compile(rb"0x(?:0|[1-9a-f][0-9a-f]{0,63})")


class PoolEvent(msgspec.Struct, frozen=True):
    """Of a V3 pool; a Mint is a positive LiquidityChange, a Burn a negative one."""

    pool: PoolId
    block_number: int
    event: Swap | LiquidityChange


class Reorg(msgspec.Struct, frozen=True):
    """This block is gone."""

    block_number: int
    block_hash: str


SeedMessage = PoolEvent | Reorg


class Decoder:
    """Bytes in any cuts become messages. Once it has raised BadFrame it is of no more use."""

    def __init__(self) -> None:
        self._buffer = b""
        self._read = 0

    def feed(self, data: bytes) -> list[SeedMessage]:
        cursor = _Cursor(self._buffer + data, self._read)
        messages = []
        try:
            while True:
                messages.append(_message(cursor))
                cursor.start = cursor.position
        except _Incomplete:
            self._buffer = cursor.data[cursor.start :]
            self._read += cursor.start
            return messages


class _Incomplete(Exception):
    """The rest of the message has not come yet."""


class _Cursor:
    def __init__(self, data: bytes, origin: int) -> None:
        self.data = data
        self.origin = origin
        """Where the data stand in the stream."""
        self.start = 0
        self.position = 0

    def take(self, size: int) -> bytes:
        if self.position + size > len(self.data):
            raise _Incomplete
        self.position += size
        return self.data[self.position - size : self.position]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def peek(self, offset: int, size: int) -> int:
        """Without moving, counted from the start of the message."""
        at = self.start + offset
        return int.from_bytes(self.data[at : at + size], "little")

    def refuse(self, reason: str, back: int) -> BadFrame:
        return BadFrame(self.origin + self.position - back, reason)


def _message(cursor: _Cursor) -> SeedMessage:
    if len(cursor.data) - cursor.start < LEAST:
        raise _Incomplete
    if cursor.peek(8, 8) in (RAW_WORD, HEX_WORD):
        return Reorg(cursor.unsigned(8), _hash(cursor))
    match tag := cursor.unsigned(4):
        case 0 | 1:
            return _liquidity_change(cursor, 1 if tag == 0 else -1)
        case 2:
            return _swap(cursor)
        case 3:
            return Reorg(cursor.unsigned(8), _hash(cursor))
    raise cursor.refuse(f"{tag} is no tag of a message, and the bytes are no reorg without a tag", 4)


def _liquidity_change(cursor: _Cursor, sign: int) -> PoolEvent:
    pool, _ = _address(cursor)
    block_number = cursor.unsigned(8)
    tick_lower, tick_upper, liquidity = cursor.signed(4), cursor.signed(4), cursor.unsigned(16)
    return PoolEvent(pool, block_number, LiquidityChange(tick_lower, tick_upper, sign * liquidity))


def _swap(cursor: _Cursor) -> PoolEvent:
    pool, is_hex = _address(cursor)
    block_number = cursor.unsigned(8)
    sqrt_price_x96 = _hex_number(cursor) if is_hex else _raw_number(cursor)
    tick, liquidity = cursor.signed(4), cursor.unsigned(16)
    return PoolEvent(pool, block_number, Swap(sqrt_price_x96, liquidity, tick))


def _address(cursor: _Cursor) -> tuple[PoolId, bool]:
    """The pool, and whether the message writes its words in hex, which the length of a number alone would not show."""
    length = cursor.unsigned(8)
    if length == RAW_ADDRESS:
        return PoolId("0x" + cursor.take(length).hex()), False
    if length == HEX_ADDRESS:
        return PoolId(_digits(cursor, ADDRESS_DIGITS, length, "an address")), True
    raise cursor.refuse(f"an address of length {length} instead of {RAW_ADDRESS} or {HEX_ADDRESS}", 8)


def _hash(cursor: _Cursor) -> str:
    length = cursor.unsigned(8)
    if length == RAW_WORD:
        return "0x" + cursor.take(length).hex()
    if length == HEX_WORD:
        return _digits(cursor, HASH_DIGITS, length, "a hash")
    raise cursor.refuse(f"a hash of length {length} instead of {RAW_WORD} or {HEX_WORD}", 8)


def _raw_number(cursor: _Cursor) -> int:
    length = cursor.unsigned(8)
    if length != RAW_WORD:
        raise cursor.refuse(f"a number of length {length} instead of {RAW_WORD}", 8)
    return int.from_bytes(cursor.take(length))


def _hex_number(cursor: _Cursor) -> int:
    length = cursor.unsigned(8)
    if not 3 <= length <= HEX_WORD:
        raise cursor.refuse(f"a number of {length} hex characters instead of 3 to {HEX_WORD}", 8)
    return int(_digits(cursor, NUMBER_DIGITS, length, "a number"), 16)


def _digits(cursor: _Cursor, pattern: re.Pattern[bytes], length: int, name: str) -> str:
    text = cursor.take(length)
    if not pattern.fullmatch(text):
        raise cursor.refuse(f"{text!r} is not {name} in hex", length)
    return text.decode()
