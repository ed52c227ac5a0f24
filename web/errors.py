"""Errors of HTTP requests: each is answered as JSON with a sentence."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}

NO_HEADERS: Mapping[str, str] = {}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ErrorAnswer(msgspec.Struct, frozen=True):
    error: str
    """A sentence."""
    first: int | UnsetType | None = UNSET
    """The first block in memory, where another one was asked for; None where there is none."""
    last: int | UnsetType | None = UNSET
    """The last block in memory."""
    age_s: float | UnsetType | None = UNSET
    """Of the newest answer that can be had, where it is older than was asked for."""
    waiting: list[str] | UnsetType = UNSET
    """Some of the pools that wait."""
    reason: str | UnsetType = UNSET
    """The kind of reason for which a quote cannot be known."""
    most_amount_in: str | UnsetType = UNSET
    """Where the liquidity ends before the amount: what goes in until then."""
    most_amount_out: str | UnsetType = UNSET
    """And what comes out until then."""


class HttpError(Exception):
    def __init__(self, status: int, sentence: str, answer: ErrorAnswer | None = None) -> None:
        """`answer`: where it says more than the sentence."""
        super().__init__(sentence)
        self.status = status
        self.answer = answer or ErrorAnswer(sentence)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HttpError as error:
        return error_response(error.status, error.answer, HEADERS.get(error.status, {}))
    except web.RequestPayloadError as error:
        sentence = f"the body of {request.method} {request.path} cannot be read: {error.__cause__ or error}"
        return error_response(400, ErrorAnswer(" ".join(sentence.split())))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return error_response(error.status, ErrorAnswer(f"{request.method} {request.path}: {error.reason}"), allowed)


def error_response(status: int, answer: ErrorAnswer, headers: Mapping[str, str] = NO_HEADERS) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")
