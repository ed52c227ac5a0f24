"""What a request asks for: its pool, its numbers, its filters."""

from aiohttp import web

from protocols.types import PoolId, pool_id
from tables import metrics
from tables.pool import Pool
from web.errors import HttpError


def requested_pool(request: web.Request) -> PoolId:
    text = request.match_info["id"]
    if pool := pool_id(text):
        return pool
    raise HttpError(404, f"{text!r} is not a pool's id: 0x and 40 hex digits for V2 and V3, 64 for V4")


def number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise HttpError(400, f"{name}={text!r} is not a number")


def matches(request: web.Request, pool: Pool) -> bool:
    """Whether the pool passes the request's filters."""
    metadata, query = pool.listed.pool, request.query
    tokens = {metadata.token0.address, metadata.token1.address}
    return (
        query.get("protocol", metadata.protocol).lower() == metadata.protocol
        and query.get("token", metadata.token0.address).lower() in tokens
        and query.get("status", metrics.status(pool)).lower() == metrics.status(pool)
    )
