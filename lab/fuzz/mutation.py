"""Small random changes of bytes, frames and JSON."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 2**53 + 1, 2**64, 2**300, -(2**200), 1.5, 1e400, "", "0x", "x" * 300, "-5", "1e3", " 7", "٣",
    [], {}, [[[[]]]], {"type": "head"}, "0X" + "AB" * 20, "0x" + "00" * 20, "0x" + "ff" * 32, float("nan"),
    "\ud800", "x" * 200_000, "9" * 5_000, 10**4_000,
)  # fmt: skip
MARK = "\0mark"
DEPTHS = (100, 900, 1_100, 100_000)
"""Of nested brackets: below and above what a decoder's stack holds."""


def of_bytes(random: Random, data: bytes, foreign: Sequence[bytes] = ()) -> bytes:
    """One change; `foreign` are whole pieces that may be put in between."""
    if not data:
        return random.randbytes(random.randint(0, 40))
    at = random.randrange(len(data))
    end = min(len(data), at + random.choice((1, 1, 2, 4, 8, 20, 100)))
    change: Callable[[], bytes] = random.choice(
        (
            lambda: data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :],
            lambda: data[:at] + random.randbytes(end - at) + data[end:],
            lambda: data[:at] + data[end:],
            lambda: data[:at] + random.randbytes(end - at) + data[at:],
            lambda: data[:end] + data[at:],
            lambda: data[:at],
            lambda: data[:at] + _extreme(random) + data[at + 4 :],
            lambda: data[:at] + (random.choice(foreign) if foreign else b"\0" * 8) + data[at:],
        )
    )
    return change()


def of_pieces(random: Random, pieces: Sequence[T]) -> list[T]:
    """Whole pieces are lost, doubled, or swapped."""
    changed = list(pieces)
    at, other = random.randrange(len(changed)), random.randrange(len(changed))
    match random.randrange(5):
        case 0:
            del changed[at]
        case 1:
            changed.insert(other, changed[at])
        case 2:
            changed[at], changed[other] = changed[other], changed[at]
        case 3:
            del changed[min(at, other) : max(at, other)]
        case _:
            changed[at:at] = changed[min(at, other) : max(at, other)]
    return changed


def of_json(random: Random, data: bytes) -> bytes:
    """One value inside is dropped, doubled, nested or replaced; what is not JSON is changed as bytes."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return of_bytes(random, data)
    places = list(_places(whole))
    if not places:
        return of_bytes(random, data)
    holder, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(random.randrange(len(holder) + 1), holder[key])
        case 1 | 2:
            holder[key] = random.choice(STRANGE)
        case 3:
            holder[key] = MARK
            return json.dumps(whole).encode().replace(json.dumps(MARK).encode(), _nested(random))
        case 4 if isinstance(holder, dict):
            holder[MARK] = random.choice(STRANGE)
            return json.dumps(whole).encode().replace(json.dumps(MARK).encode(), json.dumps(key).encode())
        case _:
            holder[key] = _near(random, holder[key])
    return json.dumps(whole).encode()


def cuts(random: Random, data: bytes) -> list[bytes]:
    """The same bytes as several reads."""
    places = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 1, 3, 10))))
    return [data[start:end] for start, end in zip((0, *places), (*places, len(data)), strict=True)]


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield value, key
            yield from _places(item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value, index
            yield from _places(item)


def _nested(random: Random) -> bytes:
    depth = random.choice(DEPTHS)
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + b"1" + closing * random.choice((depth, 0))


def _near(random: Random, value: Any) -> Any:
    match value:
        case bool() | None:
            return not value
        case int():
            return value + random.choice((-1, 1, 10**6, -(10**6)))
        case str() if value:
            at = random.randrange(len(value))
            return random.choice((value.upper(), value[:at] + "0" + value[at + 1 :], value[:at], value + "0"))
        case _:
            return [value]


def _extreme(random: Random) -> bytes:
    return (random.choice(EXTREMES) & 0xFFFFFFFF).to_bytes(4, "little")
