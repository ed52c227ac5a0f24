"""The kinds of values that the configuration holds: addresses, URLs, shares, amounts. Pure.

A ValueError says what the value is and what it should be; pydantic adds the key.
"""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from eth_utils.address import is_checksum_address, is_checksum_formatted_address
from pydantic import AfterValidator, Field, Strict, ValidationInfo

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_ADDRESS_OR_POOL_ID = re.compile("0x(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})")


def checked_address(text: str) -> str:
    """Lower-case. Raises ValueError, also for mixed case that is not the EIP-55 checksum."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not an address")
    if is_checksum_formatted_address(text) and not is_checksum_address(text):
        raise ValueError(f"the checksum of {text} is wrong, so a digit may be; correct it, or write it in lower case")
    return text.lower()


def checked_hooks(value: Any) -> str | tuple[str, ...]:
    """Raises ValueError."""
    if value in ("none", "all"):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(address, str) for address in value):
        return tuple(map(checked_address, value))
    raise ValueError(f'{value!r} is not "none", "all" or a list of addresses')


def _checked_address_or_pool_id(text: str) -> str:
    if not _ADDRESS_OR_POOL_ID.fullmatch(text):
        raise ValueError(f"{text!r} is neither an address nor a pool id")
    return text.lower()


def _checked_url(text: str) -> str:
    """A text without a scheme is a path."""
    try:
        parts = urlsplit(text)
        is_valid = "://" not in text or parts.scheme == "file" or bool(parts.hostname)
    except ValueError:
        is_valid = False
    if not text or not is_valid:
        public = re.sub("//[^/]*@", "//", text.partition("?")[0])
        raise ValueError(f"{public!r} is neither a URL nor a path")
    return text


def _absolute(url: str, info: ValidationInfo) -> str:
    """A path is relative to the file that names it, whose directory is the validation context."""
    directory: Path | None = info.context
    return url if directory is None or "://" in url else str(directory / url)


Address = Annotated[str, AfterValidator(checked_address)]
AddressOrPoolId = Annotated[str, AfterValidator(_checked_address_or_pool_id)]
NodeUrl = Annotated[str, AfterValidator(_checked_url)]
SourceUrl = Annotated[str, AfterValidator(_checked_url), AfterValidator(_absolute)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveCount = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
FromArray = Strict(False)
"""Marks a tuple: TOML has arrays only."""
