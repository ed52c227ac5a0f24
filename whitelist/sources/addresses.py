"""Addresses as sources spell them. PURE."""

from protocols.types import ADDRESS, NATIVE


def address(text: str) -> str | None:
    """Lower-case 0x hex; None for what is no address, and for the native coin's, which no source can give."""
    lower = text.strip().lower()
    return lower if ADDRESS.fullmatch(lower) and lower != NATIVE else None
