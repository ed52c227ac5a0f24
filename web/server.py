"""aiohttp's server, with JSON also for what never reaches a route: bytes that are no HTTP, headers that it refuses."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from web.errors import ErrorAnswer, error_response, errors_as_json

LONGEST_REASON = 200
"""Characters of the parser's message, which quotes what was sent."""


class Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """A request that cannot be parsed is the client's fault: one sentence to it, and none into the log.

        Raises ConnectionError where the client is gone, or an answer has begun.
        """
        if self.transport is None or request.writer.output_size > 0:
            raise ConnectionError("no answer can be sent") from exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("error handling %s %s", request.method, request.path, exc_info=exc)
            sentence = "the worker failed at this request; its log says why"
        else:
            self.log_debug("a request from %s cannot be read: %s", request.remote, message)
            sentence = f"this is not an HTTP request that can be read: {_reason(status, message)}"
        response = error_response(status, ErrorAnswer(sentence))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that cannot be read is the client's fault too, and its answer says so."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            self.log_debug(*args, **kw)
        else:
            super().log_exception(*args, **kw)


class Server(web.Server):
    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application so that each of its answers with a status of 400 and more is JSON."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        handler = partial(errors_as_json, handler=server.request_handler)
        return Server(
            handler,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=asyncio.get_running_loop(),
            **server._kwargs,
        )


def _reason(status: int, message: str | None) -> str:
    words = " ".join((message or HTTPStatus(status).phrase).split())
    return words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]}…"
