"""JSON-RPC over a WebSocket or an IPC socket, which connects again at the next request after it broke.

web3's socket providers spin the event loop while they wait and allow one batch at a time, so these are our own. Every
failure to get an answer is a ConnectionError.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import WebSocketException

from streams.node.metrics import RECEIVED, SENT
from streams.node.transport.http import Calls, Response, encode, error_text

READ_SIZE = 1 << 18


class Connection(Protocol):
    async def send(self, message: bytes) -> None: ...

    def messages(self) -> AsyncIterator[Any]:
        """Every JSON value that arrives; ends when the other side closes."""

    async def close(self) -> None: ...


class SocketTransport:
    """Many requests at a time over one connection, matched by id; what answers no request is a notification."""

    def __init__(self, target: str, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._connection: Connection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._pending: dict[int, asyncio.Future[Response]] = {}
        self._ids = itertools.count(1)
        self.notifications: asyncio.Queue[Response | ConnectionError] = asyncio.Queue()

    async def exchange(self, calls: Calls) -> list[Response]:
        connection = await self._open()
        ids = [next(self._ids) for _ in calls]
        futures = [asyncio.get_running_loop().create_future() for _ in calls]
        self._pending.update(zip(ids, futures, strict=True))
        try:
            async with asyncio.timeout(self._timeout_s):
                request = encode(ids, calls)
                SENT.inc(len(request))
                await connection.send(request)
                return list(await asyncio.gather(*futures))
        except TimeoutError as error:
            raise ConnectionError(f"no answer within {self._timeout_s:g} s") from error
        except (WebSocketException, OSError) as error:
            await self._drop(connection, ConnectionError(error_text(error)))
            raise ConnectionError(error_text(error)) from error
        finally:
            for request_id, future in zip(ids, futures, strict=True):
                del self._pending[request_id]
                if not future.cancel() and not future.cancelled():
                    future.exception()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is None:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        self._connection = await _connect(self._target)
                except (WebSocketException, OSError) as error:
                    raise ConnectionError(error_text(error)) from error
                self._reader = asyncio.create_task(self._read(self._connection), name=f"answers of {self._target}")
            return self._connection

    async def _read(self, connection: Connection) -> None:
        cause = "the node closed the connection"
        try:
            async for message in connection.messages():
                self._dispatch(message)
        except (WebSocketException, OSError, ValueError, RecursionError) as error:
            cause = error_text(error)
        await self._drop(connection, ConnectionError(cause))

    async def _drop(self, connection: Connection, error: ConnectionError) -> None:
        """The next request connects again; all that wait for an answer on this connection get none."""
        if self._connection is connection:
            self._connection = None
            self._fail(error)
            await connection.close()

    def _dispatch(self, message: Any) -> None:
        for answer in message if isinstance(message, list) else [message]:
            if not isinstance(answer, dict):
                raise ValueError(f"the node sent JSON that is no answer: {str(answer)[:200]}")  # noqa: TRY004  not our bug
            future = self._pending.get(answer.get("id") or 0)
            if future is not None and not future.done():
                future.set_result(answer)
            elif "method" in answer:
                self.notifications.put_nowait(answer)
            elif "error" in answer and answer.get("id") is None:
                self._fail(ConnectionError(f"the node refused a request: {answer['error']}"))

    def _fail(self, error: ConnectionError) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self.notifications.put_nowait(error)


class WebSocketConnection:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: bytes) -> None:
        await self._connection.send(message.decode())

    async def messages(self) -> AsyncIterator[Any]:
        async for message in self._connection:
            RECEIVED.inc(len(message))
            yield msgspec.json.decode(message)

    async def close(self) -> None:
        await self._connection.close()


class IpcConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: bytes) -> None:
        self._writer.write(message + b"\n")
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[Any]:
        buffer = b""
        while chunk := await self._reader.read(READ_SIZE):
            RECEIVED.inc(len(chunk))
            buffer += chunk
            if buffer.rstrip()[-1:] in (b"}", b"]"):
                values, buffer = _complete_values(buffer)
                for value in values:
                    yield value

    async def close(self) -> None:
        self._writer.close()


async def _connect(target: str) -> Connection:
    if target.startswith(("ws://", "wss://")):
        return WebSocketConnection(await connect_websocket(target, max_size=None))
    return IpcConnection(*await asyncio.open_unix_connection(target))


def _complete_values(buffer: bytes) -> tuple[list[Any], bytes]:
    """Nodes separate their answers by a newline or by nothing at all."""
    decode: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().raw_decode
    values: list[Any] = []
    text, position = buffer.decode(errors="replace").strip(), 0
    while position < len(text):
        try:
            value, position = decode(text, position)
        except json.JSONDecodeError:
            return values, text[position:].encode()
        values.append(value)
        while position < len(text) and text[position].isspace():
            position += 1
    return values, b""
