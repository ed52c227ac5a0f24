"""Errors of HTTP requests: each is answered as JSON with a sentence."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpError(Exception):
    def __init__(self, status: int, sentence: str, **facts: Any) -> None:
        """`facts` are further fields of the JSON."""
        super().__init__(sentence)
        self.status = status
        self.body = {"error": sentence, **facts}
        self.headers = HEADERS.get(status, {})


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HttpError as error:
        return web.json_response(error.body, status=error.status, headers=error.headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        sentence = f"{request.method} {request.path}: {error.reason}"
        return web.json_response({"error": sentence}, status=error.status)
