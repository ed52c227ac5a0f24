"""What a reader asks of the stream: which pools, with their ticks or without, and how final."""

from collections.abc import Callable
from typing import Literal, TypeVar, cast

import msgspec
from aiohttp import web

from protocols.registry import NAMES
from protocols.types import PoolId, pool_id
from web.errors import HttpError
from web.parameters import choice, parse_token
from web.route_table import Parameter
from web.stream.chain.changes import Entry

T = TypeVar("T")

Finality = Literal["instant", "safe", "finalized"]
MOST_LISTED = 1000
"""Pools or tokens of one filter."""


class Filter(msgspec.Struct, frozen=True):
    """Readers of the same filter share the bytes of their events. None: all."""

    pools: frozenset[PoolId] | None = None
    tokens: frozenset[str] | None = None
    protocols: frozenset[str] | None = None
    ticks: bool = False

    def matches(self, entry: Entry) -> bool:
        return (
            (self.pools is None or entry.id in self.pools)
            and (self.protocols is None or entry.protocol in self.protocols)
            and (self.tokens is None or not self.tokens.isdisjoint(entry.tokens))
        )


class Asked(msgspec.Struct, frozen=True):
    """Readers that ask for the same share the bytes of their events."""

    finality: Finality
    wanted: Filter


def asked_by(request: web.Request) -> Asked:
    """Raises HttpError."""
    wanted = Filter(POOLS.read(request), TOKENS.read(request), PROTOCOLS.read(request), TICKS.read(request) == "true")
    return Asked(cast(Finality, FINALITY.read(request) or "instant"), wanted)


def _list_of(parse: Callable[[str, str], T]) -> Callable[[str, str], frozenset[T]]:
    def parse_list(name: str, text: str) -> frozenset[T]:
        parts = [part for part in text.replace(" ", "").split(",") if part]
        if len(parts) > MOST_LISTED:
            raise HttpError(400, f"{name} names {len(parts)}; it may name {MOST_LISTED}")
        return frozenset(parse(name, part) for part in parts)

    return parse_list


def _parse_pool(name: str, text: str) -> PoolId:
    if found := pool_id(text):
        return found
    raise HttpError(400, f"{name}: {text[:80]!r} is not a pool's id: 0x and 40 hex digits for V2 and V3, 64 for V4")


TEXT = {"type": "string"}
POOLS: Parameter[frozenset[PoolId]] = Parameter("pools", TEXT, "Ids of pools, by comma.", _list_of(_parse_pool))
TOKENS: Parameter[frozenset[str]] = Parameter(
    "tokens", TEXT, "Addresses, by comma: pools of any of these tokens.", _list_of(parse_token)
)
PROTOCOLS: Parameter[frozenset[str]] = Parameter(
    "protocol",
    TEXT,
    f"By comma, of {', '.join(NAMES)}.",
    _list_of(choice("protocol", NAMES, "").parse),
)
TICKS = choice("ticks", ("true", "false"), "Pools carry `ticks`: all in a snapshot, later those that changed.")
FINALITY = choice(
    "finality", ("instant", "safe", "finalized"), "Blocks as they come, or only once the node calls them so."
)
LAST_EVENT_ID: Parameter[str] = Parameter(
    "last_event_id",
    TEXT,
    "`number-hash` of the last event that was read, as the header Last-Event-ID: the events after it follow.",
    lambda _, text: text,
)
