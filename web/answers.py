"""Answers encoded as JSON, large ones beside the event loop, which must not stand still for more than 20 ms."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

encode = msgspec.json.encode
JSON = "application/json"
Json = dict[str, Any]


def joined(*parts: msgspec.Struct) -> bytes:
    """One JSON object with the fields of all of them; none may be without fields."""
    return b"{" + b",".join(encode(part)[1:-1] for part in parts) + b"}"


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return encoded_answer(encode(body), status, headers)


async def answer_from_thread(body: Callable[[], bytes]) -> web.Response:
    """`body` may read nothing that the event loop changes."""
    return encoded_answer(await asyncio.to_thread(body))


def encoded_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type=JSON, charset="utf-8")
