"""The two connections that stay open: a WebSocket and a node's IPC socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket

from streams.node.metrics import RECEIVED
from streams.node.transport.json_rpc import MAX_ANSWER_BYTES
from streams.node.transport.json_stream import JsonStream

READ_BYTES = 1 << 18


class Connection(Protocol):
    async def send(self, message: bytes) -> None: ...

    def messages(self) -> AsyncIterator[bytes | str]:
        """The JSON of every message that arrives; ends when the other side closes."""

    async def close(self) -> None: ...


class WebSocketConnection:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: bytes) -> None:
        await self._connection.send(message, text=True)

    async def messages(self) -> AsyncIterator[bytes | str]:
        async for message in self._connection:
            RECEIVED.inc(len(message))
            yield message

    async def close(self) -> None:
        await self._connection.close()


class IpcConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: bytes) -> None:
        self._writer.write(message + b"\n")
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[bytes | str]:
        stream = JsonStream()
        while chunk := await self._reader.read(READ_BYTES):
            RECEIVED.inc(len(chunk))
            for value in stream.feed(chunk):
                yield value
            if stream.size > MAX_ANSWER_BYTES:
                raise ConnectionError(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")

    async def close(self) -> None:
        self._writer.close()


async def connect(target: str) -> Connection:
    """ws(s):// or the path of an IPC socket. Raises OSError, WebSocketException, TimeoutError."""
    if target.startswith(("ws://", "wss://")):
        return WebSocketConnection(await connect_websocket(target, max_size=MAX_ANSWER_BYTES))
    return IpcConnection(*await asyncio.open_unix_connection(target, limit=READ_BYTES))
