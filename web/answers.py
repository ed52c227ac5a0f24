"""Answers encoded as JSON, large ones beside the event loop, which must not stand still for more than 20 ms."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from tables.views.state import Json


def json_answer(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return _response(msgspec.json.encode(body), status, headers)


async def json_answer_from_thread(view: Callable[[], Json]) -> web.Response:
    """`view` may read nothing that the event loop changes."""
    return _response(await asyncio.to_thread(lambda: msgspec.json.encode(view())))


def _response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")
