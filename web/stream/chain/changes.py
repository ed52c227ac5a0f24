"""What changes of a pool: its view as HTTP answers it, and its ticks; and several changes as one. Pure."""

from collections.abc import Iterable

import msgspec

from protocols.types import PoolId
from streams.updates import PoolChanged

NO_TICKS = b"[]"


class Entry(msgspec.Struct, frozen=True):
    """A pool as it is served, and what filters ask of it."""

    id: PoolId
    protocol: str
    tokens: tuple[str, str]
    is_live: bool
    view: bytes
    """As `GET /pools/{id}/` answers, without the envelope."""


class Change(msgspec.Struct, frozen=True):
    entry: Entry | None
    """None: the pool is off the list."""
    ticks: bytes | None = None
    """A JSON list of those that changed; of a pool that was not live before, all. None where it is not live."""


Changes = dict[PoolId, Change]


class _Token(msgspec.Struct):
    address: str


class _View(msgspec.Struct):
    id: PoolId
    protocol: str
    status: str
    token0: _Token
    token1: _Token


class _Tick(msgspec.Struct):
    tick: int
    liquidity_gross: str
    liquidity_net: str


_decode_view = msgspec.json.Decoder(_View).decode
_decode_ticks = msgspec.json.Decoder(list[_Tick]).decode


def entry(view: bytes) -> Entry:
    found = _decode_view(view)
    tokens = found.token0.address, found.token1.address
    return Entry(found.id, found.protocol, tokens, found.status == "live", view)


def change(record: PoolChanged) -> tuple[PoolId, Change]:
    found = entry(bytes(record.pool))
    return found.id, Change(found, bytes(record.ticks) if found.is_live else None)


REMOVED = Change(None)


def with_part(change: Change, part: Change) -> Change:
    """Of a pool whose ticks are too many for one record."""
    if change.ticks is None or part.ticks is None:
        return part
    return Change(part.entry, change.ticks[:-1] + b"," + part.ticks[1:])


def merged(several: Iterable[Changes]) -> list[Changes]:
    """As few as say the same. A pool that was not live in between is in two: what ticks it had goes with the first."""
    resets: Changes = {}
    last: Changes = {}
    for changes in several:
        for pool, new in changes.items():
            old = last.get(pool)
            if old is None:
                last[pool] = new
            elif old.ticks is None and new.ticks is not None:
                resets[pool], last[pool] = old, new
            elif old.ticks is not None and new.ticks is not None:
                last[pool] = Change(new.entry, joined_ticks(old.ticks, new.ticks))
            else:
                last[pool] = new
    resets = {pool: reset for pool, reset in resets.items() if last[pool].ticks is not None}
    return [last | resets, {pool: last[pool] for pool in resets}] if resets else [last]


def joined_ticks(before: bytes, after: bytes) -> bytes:
    """The later value of each tick."""
    if NO_TICKS in (before, after):
        return after if before == NO_TICKS else before
    ticks = {each.tick: each for part in (before, after) for each in _decode_ticks(part)}
    return msgspec.json.encode([ticks[number] for number in sorted(ticks)])
