"""What is asked of the server and how its answers are read: the same for the sync and the async client. No I/O."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from pool_state_arena_client import decoding
from pool_state_arena_client.errors import ArenaError
from pool_state_arena_client.records import Depth, Pool, PoolsAtBlock, Quote, ServerStatus, Ticks

T = TypeVar("T")
At = int | str | None
"""A block's number or hash, `safe` or `finalized`; None: the newest."""
Parameters = list[tuple[str, str]]
TIMEOUT_S = 10.0
PAGE = 1000
"""Pools."""
MOST_POOLS = 1000
"""That the server takes in one query."""


class Request(msgspec.Struct, Generic[T], frozen=True):
    method: Literal["GET", "POST"]
    path: str
    read: Callable[[bytes], T]
    parameters: Parameters = []
    body: bytes | None = None


class PageOfPools(msgspec.Struct, frozen=True):
    pools: tuple[Pool, ...]
    next: str | None


def authorization(token: str | None) -> dict[str, str]:
    """The header for a server that asks for a bearer token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def pool(pool_id: str, at: At, max_age_s: float | None) -> Request[Pool]:
    return Request("GET", f"/pools/{pool_id}/", decoding.one_pool, _parameters(at=at, max_age_s=max_age_s))


def ticks(pool_id: str, at: At, max_age_s: float | None) -> Request[Ticks]:
    return Request("GET", f"/pools/{pool_id}/ticks/", decoding.ticks, _parameters(at=at, max_age_s=max_age_s))


def filters(protocol: str | None, status: str | None, tokens: Sequence[str]) -> Parameters:
    return _parameters(protocol=protocol, status=status) + [("token", token) for token in tokens]


def page(wanted: Parameters, at: At, limit: int, cursor: str | None) -> Request[PageOfPools]:
    return Request("GET", "/pools/", _page, wanted + _parameters(at=at, limit=limit, cursor=cursor))


def query(ids: Iterable[str], at: At, with_ticks: bool, max_age_s: float | None) -> Request[PoolsAtBlock]:
    """Raises ArenaError for more ids than the server takes."""
    wanted = list(ids)
    if not 0 < len(wanted) <= MOST_POOLS:
        raise ArenaError(f"a query is for 1 to {MOST_POOLS} pools, not for {len(wanted)}")
    body = msgspec.json.encode({"ids": wanted, "at": at, "ticks": with_ticks})
    return Request("POST", "/pools/query", decoding.pools_at_block, _parameters(max_age_s=max_age_s), body)


def quote(pool_id: str, token_in: str, amount_in: int | None, amount_out: int | None, at: At) -> Request[Quote]:
    """Raises ArenaError unless one of the amounts is given."""
    if (amount_in is None) == (amount_out is None):
        raise ArenaError("a quote is for amount_in or for amount_out")
    parameters = _parameters(token_in=token_in, amount_in=amount_in, amount_out=amount_out, at=at)
    return Request("GET", f"/pools/{pool_id}/quote", decoding.quote, parameters)


def depth(pool_id: str, points: int | None, at: At) -> Request[Depth]:
    return Request("GET", f"/pools/{pool_id}/depth/", decoding.depth, _parameters(points=points, at=at))


def status() -> Request[ServerStatus]:
    return Request("GET", "/status/", lambda body: decoding.decode(body, ServerStatus))


def stream_parameters(
    pools: Sequence[str], tokens: Sequence[str], protocol: str | None, finality: str, with_ticks: bool
) -> Parameters:
    return _parameters(
        pools=",".join(pools) or None,
        tokens=",".join(tokens) or None,
        protocol=protocol,
        finality=finality,
        ticks="true" if with_ticks else None,
    )


def _page(body: bytes) -> PageOfPools:
    found = decoding.decode(body, decoding.Page)
    return PageOfPools(tuple(decoding.pool(each) for each in found.pools), found.next)


def _parameters(**values: object) -> Parameters:
    return [(name, str(value)) for name, value in values.items() if value is not None]
