"""What a request asks for: its pool, its numbers, its filters."""

from aiohttp import web

from protocols.types import PoolId, pool_id
from tables.pool import Pool
from tables.processing import metrics
from web.errors import HttpError

LONGEST_NUMBER = 78
"""Digits of 2^256."""
QUOTED = 80
"""Characters of a parameter that an error repeats."""


def requested_pool(request: web.Request) -> PoolId:
    text = request.match_info["id"]
    if pool := pool_id(text):
        return pool
    raise HttpError(404, f"{_quoted(text)} is not a pool's id: 0x and 40 hex digits for V2 and V3, 64 for V4")


def number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise HttpError(400, f"{name}={_quoted(text)} is not a number")
    if len(text) > LONGEST_NUMBER:
        raise HttpError(400, f"{name} has {len(text)} digits; it may have {LONGEST_NUMBER}")
    return int(text)


def matches(request: web.Request, pool: Pool) -> bool:
    """Whether the pool passes the request's filters."""
    metadata, query = pool.listed.pool, request.query
    tokens = {metadata.token0.address, metadata.token1.address}
    return (
        query.get("protocol", metadata.protocol).lower() == metadata.protocol
        and query.get("token", metadata.token0.address).lower() in tokens
        and query.get("status", metrics.status(pool)).lower() == metrics.status(pool)
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= QUOTED else f"{text[:QUOTED]}…")
