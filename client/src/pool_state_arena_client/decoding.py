"""The server's JSON as records: decimal strings become exact integers."""

from typing import Any, TypeVar

import msgspec

from pool_state_arena_client.errors import ArenaError, NotFound, NotNow, Refused, Unreachable
from pool_state_arena_client.records import (
    Depth,
    Envelope,
    Pool,
    PoolsAtBlock,
    Quote,
    Ticks,
)

T = TypeVar("T")
Json = dict[str, Any]


class _Error(msgspec.Struct):
    error: str
    first: int | None = None
    last: int | None = None
    age_s: float | None = None


def decode(body: bytes | str, type_: type[T]) -> T:
    """Raises Unreachable where the body is not such a value."""
    try:
        return msgspec.json.decode(body, type=type_, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"the answer is not one of Pool State Arena: {error}") from error


def convert(value: object, type_: type[T]) -> T:
    """Raises Unreachable where the value is not of that type."""
    try:
        return msgspec.convert(value, type_, strict=False)
    except msgspec.ValidationError as error:
        raise Unreachable(f"the answer is not one of Pool State Arena: {error}") from error


def refusal(status: int, body: bytes) -> ArenaError:
    """The error that an answer with such a status stands for."""
    try:
        error = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unreachable(f"the server answers with status {status} and no sentence")
    if status == 404:
        return NotFound(status, error.error, error.first, error.last)
    if status == 503:
        return NotNow(status, error.error, error.age_s)
    return Refused(status, error.error)


def pool(fields: Json) -> Pool:
    """With an envelope where the fields have one."""
    of_block = _part(fields, Envelope) if "chain" in fields else None
    return convert({**fields, "state": _tagged(fields.get("state")), "envelope": of_block}, Pool)


def _tagged(state: Json | None) -> Json | None:
    """The server's states differ by their fields alone."""
    if state is None:
        return None
    return {"kind": "reserves" if "reserve0" in state else "concentrated", **state}


def envelope(fields: Json) -> Envelope:
    return convert(_part(fields, Envelope), Envelope)


def _part(fields: Json, type_: type[msgspec.Struct]) -> Json:
    return {name: fields.get(name) for name in type_.__struct_fields__}


def one_pool(body: bytes) -> Pool:
    return pool(decode(body, Json))


def pools_at_block(body: bytes) -> PoolsAtBlock:
    fields = decode(body, Json)
    found = tuple(pool(each) for each in fields.get("pools", ()))
    return PoolsAtBlock(envelope(fields), found, tuple(fields.get("unknown", ())))


def ticks(body: bytes) -> Ticks:
    fields = decode(body, Json)
    return convert({**fields, "envelope": _part(fields, Envelope)}, Ticks)


def quote(body: bytes) -> Quote:
    fields = decode(body, Json)
    return convert({**fields, "envelope": _part(fields, Envelope)}, Quote)


def depth(body: bytes) -> Depth:
    fields = decode(body, Json)
    return convert({**fields, "envelope": _part(fields, Envelope)}, Depth)


class Page(msgspec.Struct):
    pools: list[Json]
    next: str | None = None
