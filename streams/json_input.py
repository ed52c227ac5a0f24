"""Decodes JSON that another program wrote, with one error for whatever is wrong with it. Pure."""

from typing import TypeVar

import msgspec

T = TypeVar("T")

LONGEST_REASON = 500
"""Characters; msgspec quotes the value that it refuses, and that may be megabytes long."""


class InvalidJson(ValueError):
    """The bytes are not JSON, or not JSON of the expected type; the message says where."""


def decode_json(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Raises InvalidJson, also for deep nesting, lone surrogates and numbers that no field can hold."""
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise InvalidJson("the JSON is nested too deeply") from error
    except ValueError as error:  # of msgspec, of UTF-8, of int()
        reason = str(error)
        raise InvalidJson(reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…") from error
