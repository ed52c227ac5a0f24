"""The feed's socket, always drained: whole blocks and reorgs wait in a bounded buffer until the bridge takes them.

Nothing of the feed is needed to be exact, for the node has the last word; so when the buffer is full the connection is
given up, and what is missed comes from the node.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from streams.bridge.metrics import BROKEN_PROMISES, BUFFERED, CONNECTIONS, OVERFLOWS
from streams.exex.assembly import Assembly, Step
from streams.exex.control import Decoder
from streams.exex.control_frames import BadFrame
from streams.exex.seed import Decoder as SeedDecoder
from streams.exex.seed_assembly import SeedAssembly
from streams.exex.violations import ProtocolViolation

log = logging.getLogger(__name__)

READ_BYTES = 2**18
RECONNECT_S = 0.5
SILENCE_S = 0.2
"""On a wire without block marks a block is over after so long without a message."""


class Wire(Protocol):
    def receive(self, data: bytes) -> Iterator[Step]: ...

    def silence(self) -> Iterator[Step]: ...


class ControlWire:
    def __init__(self) -> None:
        self._decoder = Decoder()
        self._assembly = Assembly()

    def receive(self, data: bytes) -> Iterator[Step]:
        for message in self._decoder.feed(data):
            try:
                step = self._assembly.receive(message)
            except ProtocolViolation as broken:
                BROKEN_PROMISES.labels(type(broken).__name__).inc()
                log.warning("the feed broke its promise: %s; what is missing comes from the node", broken)
                self._assembly = Assembly()
                step = self._assembly.receive(message)
            if step is not None:
                yield step

    def silence(self) -> Iterator[Step]:
        return iter(())


class SeedWire:
    def __init__(self) -> None:
        self._decoder = SeedDecoder()
        self._assembly = SeedAssembly()

    def receive(self, data: bytes) -> Iterator[Step]:
        for message in self._decoder.feed(data):
            yield from self._assembly.receive(message)

    def silence(self) -> Iterator[Step]:
        return iter(self._assembly.flush())


class Feed:
    """`news` is set whenever a step has come."""

    def __init__(self, socket: Path, wire: Callable[[], Wire], buffer: int, news: asyncio.Event) -> None:
        self._socket = socket
        self._wire = wire
        self._limit = buffer
        self._steps: deque[Step] = deque()
        self._taken = asyncio.Event()
        self._news = news

    def take(self) -> Step | None:
        if not self._steps:
            return None
        step = self._steps.popleft()
        BUFFERED.set(len(self._steps))
        if not self._steps:
            self._taken.set()
        return step

    def has_more(self) -> bool:
        return bool(self._steps)

    async def run(self) -> None:
        """Connects again for ever; one line for each time that the feed comes or goes."""
        absent = False
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._socket)
            except OSError as error:
                if not absent:
                    log.warning("no feed at %s (%s); trying again every %.1f s", self._socket, error, RECONNECT_S)
                absent = True
            else:
                absent = False
                await self._listen(reader, writer)
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        CONNECTIONS.inc()
        log.info("connected to the feed at %s", self._socket)
        try:
            await self._drain(reader)
        except (OSError, BadFrame) as error:
            log.warning("the connection to the feed is given up: %s", error)
        finally:
            writer.close()
        if len(self._steps) >= self._limit:
            OVERFLOWS.inc()
            log.warning("%d blocks of the feed wait for Kafka or the node; connecting again after them", self._limit)
            self._taken.clear()
            await self._taken.wait()

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        wire = self._wire()
        while len(self._steps) < self._limit:
            try:
                async with asyncio.timeout(SILENCE_S):
                    data = await reader.read(READ_BYTES)
            except TimeoutError:
                self._buffer(wire.silence())
                continue
            if not data:
                self._buffer(wire.silence())
                log.warning("the feed closed the connection")
                return
            self._buffer(wire.receive(data))

    def _buffer(self, steps: Iterator[Step]) -> None:
        for step in steps:
            self._steps.append(step)
            self._news.set()
        BUFFERED.set(len(self._steps))
