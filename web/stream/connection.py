"""One reader's connection: events are written in slices, and it is given up where it takes nothing for too long."""

import asyncio
import logging
import socket
from collections.abc import Iterable

from aiohttp import web

from web.stream.readers import Reader

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 30.0
"""A connection that takes nothing for so long is aborted."""
SLICE = 2**16
"""Bytes that are written at once, so that a large event does not wait in memory once for each reader."""
SEND_BUFFER = 2**17
"""Of the kernel, per connection: a reader that does not read is noticed after that."""
LARGEST_REST = 2**20
"""Of an event that is cut by the end of the stream: so much of it is written all the same."""


class Connection:
    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._rest = memoryview(b"")
        """Of the event that is being written: what the transport does not have yet."""

    async def send(self, first: Iterable[bytes], reader: Reader) -> None:
        """Until the reader is closed. Raises ConnectionError, TimeoutError where the connection is."""
        try:
            for event in first:
                await self._write(event)
            async for event in reader.events():
                await self._write(event)
        except TimeoutError:
            self._abort()
            raise

    async def finish(self, last: bytes) -> None:
        """Writes the last event. A reader that was cut in a large one gets none: what is cut is no event."""
        if len(self._rest) > LARGEST_REST:
            self._abort()
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._response.write(bytes(self._rest) + last)
                await self._response.write_eof()
        except TimeoutError:
            self._abort()
        except ConnectionError as error:
            log.debug("a reader left before its last event: %s", error)

    async def _write(self, event: bytes) -> None:
        view = memoryview(event)
        for start in range(0, len(view), SLICE):
            self._rest = view[start + SLICE :]
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._response.write(bytes(view[start : start + SLICE]))

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


def bound_send_buffer(request: web.Request) -> None:
    found = request.transport.get_extra_info("socket") if request.transport else None
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
