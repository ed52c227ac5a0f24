"""Reads the hexadecimal values of JSON-RPC: anything else is an error. Pure.

Python's own `int` takes signs, spaces and underlines too, and `bytes.fromhex` takes spaces.
"""

from binascii import unhexlify
from typing import Any


def quantity(given: Any) -> int:
    """Of 256 bits at most; leading zeros are accepted. Raises ValueError."""
    if not isinstance(given, str) or given[:2] != "0x" or len(given) > 66 or not given[2:].isalnum():
        raise ValueError(f"{_shown(given)} is no quantity")
    return int(given.encode("ascii"), 16)


def counter(given: Any) -> int:
    """A quantity that counts blocks, logs or seconds: of 63 bits at most. Raises ValueError."""
    if (number := quantity(given)) >= 2**63:
        raise ValueError(f"{_shown(given)} is too large")
    return number


def data(given: Any) -> bytes:
    """Raises ValueError."""
    if not isinstance(given, str) or given[:2] != "0x":
        raise ValueError(f"{_shown(given)} is no data")
    return unhexlify(given[2:])


def word(given: Any) -> bytes:
    """Of 32 bytes: a hash or a topic. Raises ValueError."""
    if not isinstance(given, str) or len(given) != 66 or given[:2] != "0x":
        raise ValueError(f"{_shown(given)} has not 32 bytes")
    return unhexlify(given[2:])


def hash_text(given: Any) -> str:
    """Lower-case 0x hex of 32 bytes. Raises ValueError."""
    return "0x" + word(given).hex()


def address_text(given: Any) -> str:
    """Lower-case 0x hex of 20 bytes. Raises ValueError."""
    if not isinstance(given, str) or len(given) != 42 or given[:2] != "0x":
        raise ValueError(f"{_shown(given)} is no address")
    return "0x" + unhexlify(given[2:]).hex()


def is_hex(given: Any) -> bool:
    """Of any number of digits, none included."""
    if not isinstance(given, str) or given[:2] != "0x":
        return False
    digits = given[2:]
    try:
        unhexlify(digits if len(digits) % 2 == 0 else f"0{digits}")
    except ValueError:
        return False
    return True


def _shown(given: Any) -> str:
    return repr(str(given)[:100])
