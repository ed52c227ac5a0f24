"""A faulty node: a TCP proxy before a real one that refuses, cuts, lags, goes silent, errs or limits requests."""

import asyncio
import json
from contextlib import suppress
from itertools import cycle
from typing import Literal
from urllib.parse import urlsplit

from lab.devnet.servers.background import BackgroundLoop

Mode = Literal["passing", "refusing", "cutting", "lagging", "silent", "unavailable", "failing", "limiting"]
"""Unavailable: HTTP 503. Failing: every JSON-RPC request gets an error. Limiting: as a provider that limits the rate
of requests, one in three passes. The others act on the bytes."""

CUT_EVERY_S = 0.4
CHUNK_BYTES = 2**16
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LIMITED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LIMIT_ERROR: dict[str, object] = {"code": -32005, "message": "request rate exceeded"}
ERROR: dict[str, object] = {"code": -32000, "message": "the node has lost its way"}

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NodeProxy:
    """Runs in a thread of its own; HTTP and WebSocket pass through alike."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._mode: Mode = "passing"
        self._lag_s = 0.0
        self._passing = asyncio.Event()
        self._limits = cycle(("status", "error", "pass"))
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._background = BackgroundLoop("proxy")
        self._background.run(self._listen())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def set_mode(self, mode: Mode, lag_s: float = 0.0) -> None:
        self._background.run(self._set_mode(mode, lag_s))

    def stop(self) -> None:
        self.set_mode("refusing")
        self._background.stop()

    async def _listen(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _set_mode(self, mode: Mode, lag_s: float) -> None:
        self._mode, self._lag_s = mode, lag_s
        if mode == "refusing" and self._server is not None:
            self._server.close()
            self._server = None
        elif mode != "refusing" and self._server is None:
            await self._listen()
        if mode == "silent":
            self._passing.clear()
        else:
            self._passing.set()
        if mode in ("refusing", "unavailable", "failing", "limiting"):
            self._cut()
        if mode == "cutting":
            self._cut_again()

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _cut_again(self) -> None:
        if self._mode == "cutting":
            self._cut()
            asyncio.get_running_loop().call_later(CUT_EVERY_S, self._cut_again)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
                await self._answer((reader, writer))
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, client: Pair) -> None:
        if self._mode in ("unavailable", "failing"):
            head, body = await _request(client[0])
            is_unavailable = self._mode == "unavailable" or not body
            await _reply(client[1], UNAVAILABLE if is_unavailable else _error(head, body, ERROR))
            return
        request = b""
        if self._mode == "limiting":
            head, body = await _request(client[0])
            limit = next(self._limits)
            if limit != "pass":
                await _reply(client[1], LIMITED if limit == "status" or not body else _error(head, body, LIMIT_ERROR))
                return
            request = _closing(head) + body
        node = await asyncio.open_connection(*self._target)
        self._open.add(node[1])
        try:
            node[1].write(request)
            ways = [
                asyncio.create_task(self._pass(one[0], other[1])) for one, other in ((client, node), (node, client))
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._open.discard(node[1])
            node[1].transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._mode == "lagging":
                await asyncio.sleep(self._lag_s)
            await self._passing.wait()
            writer.write(chunk)
            await writer.drain()


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one HTTP request."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
    return head, await reader.readexactly(length)


async def _reply(writer: asyncio.StreamWriter, answer: bytes) -> None:
    """The connection ends with it; a WebSocket's handshake is refused."""
    writer.write(answer)
    await writer.drain()


def _closing(head: bytes) -> bytes:
    """The same request, after which the node closes the connection, so that the next one is limited too."""
    if b"upgrade: websocket" in head.lower():
        return head
    kept = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join((*kept, b"Connection: close")) + b"\r\n\r\n"


def _error(head: bytes, body: bytes, error: dict[str, object]) -> bytes:
    """Quotes the request's first line, with the key in it, as providers do."""
    asked, request_line = json.loads(body), head.partition(b"\r\n")[0].decode("latin-1")
    quoting = {**error, "message": f"{error['message']}: {request_line}"}
    calls = asked if isinstance(asked, list) else [asked]
    answers = [{"jsonrpc": "2.0", "id": call["id"], "error": quoting} for call in calls]
    text = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
    answer_head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return answer_head.encode() + text
