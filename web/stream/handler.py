"""GET /stream: the stream as server-sent events."""

import asyncio
import logging
import re

from aiohttp import web
from aiohttp_sse import sse_response

from protocols.types import Block
from web.errors import HttpError
from web.route_table import Route
from web.stream.connection import SEND_TIMEOUT_S, Connection, bound_send_buffer
from web.stream.filters import FINALITY, LAST_EVENT_ID, POOLS, PROTOCOLS, TICKS, TOKENS, Asked, asked_by
from web.stream.readers import Reader
from web.stream.service import StreamService

log = logging.getLogger(__name__)

SNAPSHOT_TRIES = 3
EVENT_ID = re.compile(r"(\d{1,18})-(0x[0-9a-f]{64})")
NEVER_S = 10.0**6
"""Between the pings of aiohttp-sse, which could come amid an event: the status is what shows that the stream lives."""


class StreamHandler:
    def __init__(self, service: StreamService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/stream",
                self._stream,
                "What changes, block by block, as server-sent events; docs/stream.md has them",
                [],
                parameters=[POOLS, TOKENS, PROTOCOLS, FINALITY, TICKS, LAST_EVENT_ID],
                errors=[400, 503],
                media_type="text/event-stream",
            )
        ]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        asked = asked_by(request)
        await self._service.started()
        reader, first = await self._begin(asked, last_event_id(request))
        try:
            bound_send_buffer(request)
            async with sse_response(request, sep="\n", send_timeout=SEND_TIMEOUT_S, ping_interval=NEVER_S) as response:
                await self._send(Connection(request, response), asked, reader, first)
            return response
        finally:
            self._service.hub.unsubscribe(asked, reader)

    async def _begin(self, asked: Asked, seen: Block | None) -> tuple[Reader, list[bytes]]:
        """A reader and the events that it begins with; those that follow wait for it. Raises HttpError."""
        hub = self._service.hub
        reader = hub.subscribe(asked)
        try:
            if seen is not None and (events := hub.resume(asked, seen)) is not None:
                return reader, events
            if not asked.wanted.ticks:
                return reader, [hub.snapshot(asked)]
        except BaseException:
            hub.unsubscribe(asked, reader)
            raise
        hub.unsubscribe(asked, reader)
        return await self._begin_with_ticks(asked)

    async def _begin_with_ticks(self, asked: Asked) -> tuple[Reader, list[bytes]]:
        """The ticks are read while events come; where a reorg or a rebalance comes in between, once more."""
        hub = self._service.hub
        for left in reversed(range(SNAPSHOT_TRIES)):
            reader, found = hub.subscribe(asked), hub.pools(asked)
            try:
                ticks = await self._service.ticks(found)
                return reader, [await asyncio.to_thread(hub.snapshot_with, asked, found, ticks)]
            except HttpError:
                hub.unsubscribe(asked, reader)
                if not left:
                    raise
            except BaseException:
                hub.unsubscribe(asked, reader)
                raise
        raise AssertionError("a try returns or raises")

    async def _send(self, connection: Connection, asked: Asked, reader: Reader, first: list[bytes]) -> None:
        """Until the connection or the reader is closed; a slow reader is facts so, and not waited for."""
        sending = asyncio.create_task(connection.send(first, reader))
        reader.closed.add_done_callback(lambda _: sending.cancel())
        try:
            await sending
        except (ConnectionError, TimeoutError) as error:
            log.debug("a reader of the stream is gone: %s", error or type(error).__name__)
            return
        except asyncio.CancelledError:
            if not reader.closed.done():
                raise
        await connection.finish(self._service.hub.closed(asked, reader.closed.result()))


def last_event_id(request: web.Request) -> Block | None:
    """The block of the last event that the reader has; None also for what is no id of ours."""
    text = request.headers.get("Last-Event-ID") or LAST_EVENT_ID.read(request) or ""
    found = EVENT_ID.fullmatch(text.strip().lower())
    return Block(int(found[1]), found[2]) if found else None
