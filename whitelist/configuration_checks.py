"""What a key of the configuration may hold; each refusal names the key, what it holds and what it ought to. PURE."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from eth_hash.auto import keccak

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_BLOCKABLE = re.compile("0x(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})")
_UNKNOWN = re.compile("Object contains unknown field `(.+)`")
_MISSING = re.compile("Object missing required field `(.+)`")


class Wrong(Exception):
    """A key holds what it cannot."""


def check_address(key: str, text: str) -> None:
    """Raises Wrong, also for mixed case that is not the checksum's."""
    if not _ADDRESS.fullmatch(text):
        raise Wrong(f"{key}: {text!r} is no address")
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and text != checksummed(text):
        raise Wrong(f"{key}: the checksum of {text} is wrong, so a digit may be; write it right, or all in lower case")


def check_blocked(key: str, text: str) -> None:
    if not _BLOCKABLE.fullmatch(text):
        raise Wrong(f"{key}: {text!r} is neither an address nor a pool id")


def check_url(key: str, text: str) -> None:
    """What has no scheme is a path."""
    try:
        parts = urlsplit(text)
        known = "://" not in text or parts.scheme == "file" or bool(parts.hostname)
    except ValueError:
        known = False
    if not text or not known:
        raise Wrong(f"{key}: {text!r} is neither a URL nor a path")


def check_factories(factories: Sequence[tuple[str, str]]) -> None:
    """`factories`: address and kind of each. One that stands there twice is harmless, one of two kinds is a mistake."""
    if not factories:
        raise Wrong("factories is empty: there is nowhere to look for pools")
    known: dict[str, tuple[int, str]] = {}
    for at, (address, kind) in enumerate(factories):
        first, other = known.setdefault(address.lower(), (at, kind))
        if kind != other:
            raise Wrong(f"factories[{at}].protocol is {kind}, and factories[{first}] has the same address as {other}")


def check_number(key: str, value: float, above: float) -> None:
    if not above < value < float("inf"):
        raise Wrong(f"{key} is {value}, and it has to be more than {above:g}")


def check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise Wrong(f"{key} is {value}, and it is a share from 0 to 1")


def checksummed(address: str) -> str:
    """EIP-55."""
    digits = address[2:].lower()
    places = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(place, 16) >= 8 else digit for digit, place in zip(digits, places, strict=False)
    )


def sentence(error: str) -> str:
    """msgspec's "… - at `$.sources.lighter.url`", with the key in front and as TOML has it."""
    said, _, where = error.partition(" - at ")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    inside = f"{key}." if key else ""
    if unknown := _UNKNOWN.fullmatch(said):
        return f"{inside}{unknown[1]} is no key that is known"
    if missing := _MISSING.fullmatch(said):
        return f"{inside}{missing[1]} is missing"
    return f"{key}: {said[:1].lower()}{said[1:]}"
