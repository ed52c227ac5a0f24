"""Who wrote a row, and when: the order in which rows of one key win.

Every row carries the epoch of the worker that wrote it, raised whenever a partition is taken over, and the number of
that worker's chunk. The highest stamp wins wherever rows meet: in recovery, on a standby, in records that another
worker slipped into the changelog.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

HEADER = "stamp"
"""Of changelog records, so that deletions have one too."""

_stamp = struct.Struct(">IQ")
STAMP_BYTES = _stamp.size


class Stamp(NamedTuple):
    epoch: int
    sequence: int

    def next(self) -> "Stamp":
        return Stamp(self.epoch, self.sequence + 1)


ZERO = Stamp(0, 0)


class Position(msgspec.Struct, frozen=True):
    """Up to where a partition's rows are folded: the row that is written last."""

    offsets: dict[str, int]
    """Source topic to the offset of the next record."""
    writer: str
    """Which takeover wrote it: tells two writers of one epoch apart."""


class Unstamped(Exception):
    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(f"changelog {topic} partition {partition} record {offset} was not written by this application")


@lru_cache(maxsize=16)  # a chunk's rows have one stamp
def stamp_bytes(stamp: Stamp) -> bytes:
    return _stamp.pack(*stamp)


def stamp_of(value: bytes) -> Stamp:
    """Of a stored value, which begins with it, or of a header's value."""
    return Stamp(*_stamp.unpack_from(value))


def header_stamp(headers: Sequence[tuple[str, bytes]]) -> Stamp | None:
    for name, value in headers:
        if name == HEADER:
            return stamp_of(value)
    return None


_position = msgspec.json.Decoder(Position)


def position_bytes(position: Position) -> bytes:
    return msgspec.json.encode(position)


def read_position(value: bytes) -> Position:
    return _position.decode(value)
