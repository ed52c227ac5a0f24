"""The bearer token that requests must carry where ARENA_WEB_TOKEN is set."""

import hmac

from aiohttp import web
from aiohttp.typedefs import Middleware

from web.errors import Handler, HttpError
from web.page.serving import PREFIX

OPEN_PATHS = {"/healthz", "/readyz", "/"}
"""Probes of process managers carry no token, and a browser opens the page before it has one: it asks for it."""


def authorization(token: str | None) -> dict[str, str]:
    """The header of a request to a worker; none without a token."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def is_open(path: str) -> bool:
    """Its answer holds nothing about the chain."""
    return path in OPEN_PATHS or path.startswith(PREFIX)


def require_token(token: str | None) -> Middleware:
    expected = authorization(token).get("Authorization", "").encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if token is None or is_open(request.path) or hmac.compare_digest(given, expected):
            return await handler(request)
        raise HttpError(401, "this worker asks for a token: send the header Authorization: Bearer <ARENA_WEB_TOKEN>")

    return check
