"""Addresses as the service compares them: lower-case 0x hex. PURE."""

import re

NATIVE = "0x" + "00" * 20
"""Stands for the chain's own coin."""
_ADDRESS = re.compile("0x[0-9a-f]{40}")


def address(text: str) -> str | None:
    """None for what is no address; the native coin's is none that a source can give."""
    lower = text.strip().lower()
    return lower if _ADDRESS.fullmatch(lower) and lower != NATIVE else None
