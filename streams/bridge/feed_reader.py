"""Reads the feed's socket at any time: whole blocks and reorgs wait in a bounded buffer until the bridge takes them.

Publishing needs nothing of the feed but block numbers, for the node decides about every block. So when the buffer is
full, the connection is closed, and what is missed comes from the node.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from streams.bridge.metrics import BUFFERED, CONNECTIONS, FEED_HEAD, OVERFLOWS, VIOLATIONS
from streams.exex.assembly import Assembly
from streams.exex.bincode import BadFrame
from streams.exex.control import Decoder
from streams.exex.control_messages import Message
from streams.exex.seed import Decoder as SeedDecoder
from streams.exex.seed_assembly import SeedAssembly
from streams.exex.steps import AssembledBlock, AssembledReorg, Step
from streams.exex.violations import ProtocolViolation, ReorgStartMissing
from streams.retry import Retries

log = logging.getLogger(__name__)

READ_BYTES = 2**18
RECONNECT_S = 0.5
SILENCE_S = 0.2
"""On a wire without block marks a block is complete after so long without a message."""
MOST_PENDING = 250_000
"""Messages of one block or reorg that are kept in memory: no block of a real chain has a tenth of them."""
MOST_WAITING_EVENTS = 500_000
"""In all blocks that wait; some 200 MB."""


class StepLost(msgspec.Struct, frozen=True):
    """Something of the feed was missed or could not be used: the node knows what became of the chain."""

    in_reorg: bool
    """The feed said that the chain is reorganised."""


FeedStep = Step | StepLost


class Wire(Protocol):
    def receive(self, data: bytes) -> Iterator[FeedStep]: ...

    def flush(self) -> Iterator[FeedStep]:
        """What is complete because nothing came for SILENCE_S."""
        ...


class UnfinishedStep(ProtocolViolation):
    def __init__(self, messages: int) -> None:
        super().__init__(f"{messages} messages came without the end of their block or reorg")


class ControlWire:
    def __init__(self) -> None:
        self._decoder = Decoder()
        self._assembly = Assembly()
        self._pending = 0

    def receive(self, data: bytes) -> Iterator[FeedStep]:
        for message in self._decoder.feed(data):
            try:
                step = self._receive(message)
            except ProtocolViolation as violation:
                _report(violation)
                yield StepLost(self._assembly.is_in_reorg or isinstance(violation, ReorgStartMissing))
                self._assembly, self._pending = Assembly(), 0
                step = self._rejoin(message)
            if step is not None:
                self._pending = 0
                yield step

    def _receive(self, message: Message) -> Step | None:
        self._pending += 1
        if self._pending > MOST_PENDING:
            raise UnfinishedStep(MOST_PENDING)
        return self._assembly.receive(message)

    def _rejoin(self, message: Message) -> Step | None:
        """A block or reorg that begins in spite of the promise that it broke is whole itself, or is refused too."""
        try:
            return self._receive(message)
        except ProtocolViolation:
            self._assembly = Assembly()
            return None

    def flush(self) -> Iterator[FeedStep]:
        return iter(())


class SeedWire:
    def __init__(self) -> None:
        self._decoder = SeedDecoder()
        self._assembly = SeedAssembly()
        self._pending = 0

    def receive(self, data: bytes) -> Iterator[FeedStep]:
        """A block that never ends is cut into parts."""
        for message in self._decoder.feed(data):
            self._pending += 1
            try:
                steps = self._assembly.receive(message)
            except ProtocolViolation as violation:
                _report(violation)
                yield StepLost(in_reorg=False)
                self._assembly, self._pending = SeedAssembly(), 0
                continue
            if self._pending > MOST_PENDING:
                steps += self._assembly.flush()
            if steps:
                self._pending = 0
            yield from steps

    def flush(self) -> Iterator[FeedStep]:
        return iter(self._assembly.flush())


def _report(violation: ProtocolViolation) -> None:
    VIOLATIONS.labels(type(violation).__name__).inc()
    log.warning("the feed violated its protocol: %s; what is missing comes from the node", violation)


class FeedUnavailable(ConnectionError):
    """The socket does not accept connections, or the feed ended one."""


class FeedReader:
    """Sets `changed` whenever a step has come."""

    def __init__(self, socket: Path, wire: Callable[[], Wire], buffer: int, changed: asyncio.Event) -> None:
        self._socket = socket
        self._wire = wire
        self._limit = buffer
        self._steps: deque[FeedStep] = deque()
        self._events = 0
        """In the steps that wait."""
        self._emptied = asyncio.Event()
        self._changed = changed

    def take(self) -> FeedStep | None:
        if not self._steps:
            return None
        step = self._steps.popleft()
        self._events -= _events_of(step)
        BUFFERED.set(len(self._steps))
        if not self._steps:
            self._emptied.set()
        return step

    def has_more(self) -> bool:
        return bool(self._steps)

    async def run(self) -> None:
        """Connects again for ever."""
        retries = Retries("The feed", (OSError, BadFrame), wait_initial_s=RECONNECT_S, wait_max_s=RECONNECT_S)
        async for attempt in retries:
            with attempt:
                while True:
                    reader, writer = await self._connect()
                    retries.reset()
                    try:
                        await self._fill_buffer(reader)
                    finally:
                        writer.close()
                    await self._until_emptied()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            connection = await asyncio.open_unix_connection(self._socket)
        except OSError as error:
            raise FeedUnavailable(f"no feed at {self._socket} ({error})") from error
        CONNECTIONS.inc()
        log.info("connected to the feed at %s", self._socket)
        return connection

    async def _fill_buffer(self, reader: asyncio.StreamReader) -> None:
        """Returns when the buffer is full. Raises FeedUnavailable, OSError, BadFrame."""
        wire = self._wire()
        self._append(iter([StepLost(in_reorg=False)]))
        while len(self._steps) < self._limit and self._events < MOST_WAITING_EVENTS:
            try:
                async with asyncio.timeout(SILENCE_S):
                    data = await reader.read(READ_BYTES)
            except TimeoutError:
                self._append(wire.flush())
                continue
            if not data:
                self._append(wire.flush())
                raise FeedUnavailable("the feed closed the connection")
            self._append(wire.receive(data))

    async def _until_emptied(self) -> None:
        OVERFLOWS.inc()
        log.warning("%d blocks of the feed wait for Kafka or the node; connecting again after them", len(self._steps))
        self._emptied.clear()
        await self._emptied.wait()

    def _append(self, steps: Iterator[FeedStep]) -> None:
        for step in steps:
            if isinstance(step, StepLost) and self._steps and self._steps[-1] == step:
                continue
            self._steps.append(step)
            self._events += _events_of(step)
            self._changed.set()
            if isinstance(step, AssembledBlock):
                FEED_HEAD.set(step.number)
        BUFFERED.set(len(self._steps))


def _events_of(step: FeedStep) -> int:
    match step:
        case AssembledBlock(updates=updates):
            return sum(map(len, updates.values()))
        case AssembledReorg(blocks=blocks):
            return sum(map(_events_of, blocks))
        case StepLost():
            return 0
