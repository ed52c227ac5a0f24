"""JSON-RPC over a WebSocket or an IPC socket, which connects again at the next request after it broke.

web3's socket providers spin the event loop while they wait and allow one batch at a time, so this is our own.
"""

import asyncio
import itertools

from websockets.exceptions import WebSocketException

from streams.node.metrics import SENT
from streams.node.transport.connections import Connection, connect
from streams.node.transport.json_rpc import (
    Calls,
    Response,
    UnreadableAnswer,
    decode,
    encode,
    error_text,
    id_of,
    is_answer,
)

MAX_NOTIFICATIONS = 256
"""Those that nobody reads are dropped, the oldest first."""


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
        self.notifications: asyncio.Queue[Response | ConnectionError] = asyncio.Queue(MAX_NOTIFICATIONS)
        """Of subscriptions; an error where the connection broke."""

    async def exchange(self, calls: Calls) -> list[Response]:
        answers = await self._exchange(calls)
        if not all(map(is_answer, answers)):
            raise UnreadableAnswer("an answer has neither result nor error")
        return answers

    async def _exchange(self, calls: Calls) -> list[Response]:
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
                        self._connection = await connect(self._target)
                except (WebSocketException, OSError) as error:
                    raise ConnectionError(error_text(error)) from error
                self._reader = asyncio.create_task(self._read(self._connection), name="answers of the node")
            return self._connection

    async def _read(self, connection: Connection) -> None:
        cause = "the node closed the connection"
        try:
            async for message in connection.messages():
                for each in decode(message):
                    self._dispatch(each)
        except (WebSocketException, OSError, ValueError, RecursionError) as error:
            cause = error_text(error)
        await self._drop(connection, ConnectionError(cause))

    async def _drop(self, connection: Connection, error: ConnectionError) -> None:
        """The next request connects again; all that wait for an answer on this connection get none."""
        if self._connection is connection:
            self._connection = None
            self._fail(error)
            await connection.close()

    def _dispatch(self, message: Response) -> None:
        request_id = id_of(message)
        future = None if request_id is None else self._pending.get(request_id)
        if future is not None and not future.done():
            future.set_result(message)
        elif "method" in message:
            self._notify(message)
        elif "error" in message and message.get("id") is None:
            self._fail(ConnectionError(f"the node refused a request: {message['error']}"))

    def _fail(self, error: ConnectionError) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._notify(error)

    def _notify(self, message: Response | ConnectionError) -> None:
        if self.notifications.full():
            self.notifications.get_nowait()
        self.notifications.put_nowait(message)
