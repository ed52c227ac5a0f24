"""Bytes of a record as text that a person reads and a program turns back. Pure."""

HEX = "hex:"
QUOTED_KEY_BYTES = 1024
QUOTED_VALUE_BYTES = 64 * 1024
QUOTED_ERROR_CHARACTERS = 2000
"""A record of any size may be undecodable: its letter stays smaller than 1 MB, which every broker accepts."""


def first_bytes(raw: bytes | None, limit: int) -> bytes | None:
    """Cut before the character that crosses the limit, where the bytes are UTF-8."""
    if raw is None or len(raw) <= limit:
        return raw
    return next((raw[:end] for end in range(limit, limit - 4, -1) if _is_utf8(raw[:end])), raw[:limit])


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def to_text(raw: bytes | None) -> str:
    """Bytes as a person can read them: UTF-8 as it is, anything else as `hex:` and hex digits; empty for None."""
    raw = raw or b""
    return HEX + raw.hex() if raw.startswith(HEX.encode()) or not _is_utf8(raw) else raw.decode()


def from_text(text: str) -> bytes | None:
    raw = bytes.fromhex(text.removeprefix(HEX)) if text.startswith(HEX) else text.encode()
    return raw or None
