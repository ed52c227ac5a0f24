"""One reader's stream over all its connections: what to ask for, what an event means, when to connect again. No I/O."""

import logging
import random

from pool_state_arena_client.errors import ArenaError, BrokenChain, NotNow, Refused
from pool_state_arena_client.requests import Parameters
from pool_state_arena_client.stream.events import BlockApplied, Event, Reorganised, Snapshot, read_event
from pool_state_arena_client.stream.linkage import Linkage
from pool_state_arena_client.stream.sse import EventParser

log = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 15.0
SILENCE_S = 20.0
"""The server sends a status every 5 s: a connection without a byte for so long is dead."""


class StreamSession:
    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.linkage = Linkage()
        self._parser = EventParser()
        self._last_id: str | None = None
        """Of the last event whose pools were given out."""
        self._delay_s = FIRST_DELAY_S

    def headers(self) -> dict[str, str]:
        """Of the next connection, which resumes after the last event."""
        self._parser = EventParser()
        resume = {"Last-Event-ID": self._last_id} if self._last_id else {}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store", **resume}

    def line(self, line: str) -> Event | None:
        """An event where the line ends one. Raises BrokenChain, StreamClosed, Unreachable."""
        received = self._parser.line(line.rstrip("\r\n"))
        event = read_event(received.kind, received.data) if received else None
        if received is None or event is None:
            return None
        self.linkage.check(event)
        self._delay_s = FIRST_DELAY_S
        if isinstance(event, Snapshot | BlockApplied | Reorganised):
            self._last_id = received.id or None
        return event

    def delay_after(self, error: Exception) -> float:
        """Seconds until the next connection. Raises the error where connecting again cannot help."""
        if isinstance(error, Refused) and not isinstance(error, NotNow):
            raise error
        if isinstance(error, BrokenChain):
            self._last_id = None
            self.linkage.forget()
        delay_s = self._delay_s * random.uniform(0.5, 1.0)
        self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)
        kind = error if isinstance(error, ArenaError) else f"{type(error).__name__} {error}".strip()
        log.warning("the stream is lost: %s; connecting again in %.1f s", kind, delay_s)
        return delay_s
