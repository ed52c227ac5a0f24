"""Rate limits of providers: how they say that they were asked too often, and a cap that keeps below them."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

CODES = (429, -32007, -32029, -32090, -32097)
"""Alchemy, and HTTP 429; QuickNode; Ankr and others. A code may be any JSON, so this is no set."""
LIMIT_EXCEEDED = -32005
"""EIP-1474 means any limit by it: of requests per second (QuickNode), and of an answer's size (Infura, geth)."""
PHRASES = (
    "rate limit",
    "too many requests",
    "request count exceeded",
    "request limit reached",
    "requests per second",
    "compute units per second",
    "http 429",
)
SIZE_WORDS = ("result", "log", "block", "range", "size", "batch", "response")
"""A limit of these is met by smaller requests, not by fewer."""
MAX_RETRY_AFTER_S = 60.0
_SECONDS = re.compile(r"(?:retry|try again|back ?off)\D{0,12}(\d+(?:\.\d+)?)\s*(ms|s\b|sec)", re.IGNORECASE)


def is_rate_limit(error: Any) -> bool:
    """Whether the error of a JSON-RPC answer says that the node was asked too often."""
    if not isinstance(error, Mapping):
        return any(phrase in str(error).lower() for phrase in PHRASES)
    code, message = error.get("code"), str(error.get("message", "")).lower()
    if code in CODES or any(phrase in message for phrase in PHRASES):
        return True
    return code == LIMIT_EXCEEDED and not any(word in message for word in SIZE_WORDS)


def retry_after_s(error: Any) -> float | None:
    """When the error says to come again: in its data (Infura's `rate.backoff_seconds`), or in its sentence."""
    if not isinstance(error, Mapping):
        return None
    data = error.get("data")
    rate = data.get("rate") if isinstance(data, Mapping) else None
    said = rate.get("backoff_seconds") if isinstance(rate, Mapping) else None
    if isinstance(said, int | float) and not isinstance(said, bool):
        return _capped(said)
    match = _SECONDS.search(str(error.get("message", "")))
    return None if match is None else _capped(float(match[1]) / (1000 if match[2].lower() == "ms" else 1))


def retry_after_header_s(value: str | None) -> float | None:
    """Of HTTP's Retry-After in seconds; its other form, a date, is not read."""
    try:
        return None if value is None else _capped(float(value))
    except ValueError:
        return None


def _capped(seconds: float) -> float:
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S) if seconds == seconds else MAX_RETRY_AFTER_S  # noqa: PLR0124  NaN


class RequestCap:
    """So many calls per second at most, each of a batch counted; those above wait their turn, in order."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._next_s = 0.0
        self.largest_batch = max(1, int(per_s))

    async def wait(self, calls: int) -> None:
        now_s = asyncio.get_running_loop().time()
        start_s = max(self._next_s, now_s)
        self._next_s = start_s + calls / self._per_s
        if start_s > now_s:
            await asyncio.sleep(start_s - now_s)
