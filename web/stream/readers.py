"""The readers of the stream: each has a bounded queue of encoded events, and one that is full is closed."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

QUEUED_EVENTS = 256


class Reader:
    """Events are offered without waiting, and taken by the connection's own task."""

    def __init__(self, most: int = QUEUED_EVENTS) -> None:
        self._most = most
        self._events: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The sentence that the reader is facts at last."""

    def offer(self, event: bytes) -> None:
        if self.closed.done():
            return
        if len(self._events) >= self._most:
            self.close(f"{self._most} events wait for this reader, which is too slow; connect again")
            return
        self._events.append(event)
        self._arrived.set()

    def close(self, sentence: str) -> None:
        """What waits is dropped."""
        if not self.closed.done():
            self.closed.set_result(sentence)
            self._events.clear()
            self._arrived.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Until it is closed."""
        while not self.closed.done():
            while self._events:
                yield self._events.popleft()
            self._arrived.clear()
            if not self.closed.done():
                await self._arrived.wait()
