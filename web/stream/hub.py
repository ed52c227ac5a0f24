"""Publishes the assembled chain to the readers: a channel for each finality, in it a group for each filter."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping

from protocols.types import Block, PoolId
from tables.views.envelope import ServedChain
from web.errors import HttpError
from web.stream.chain.assembly import Assembler
from web.stream.chain.channel import Channel
from web.stream.chain.timeline import Step, Timeline
from web.stream.events import EnvelopeFacts, PoolsAt, closed_event, snapshot_event, status_event, step_event
from web.stream.filters import Asked, Finality
from web.stream.readers import Reader

STATUS_S = 5.0
READERS_PER_TURN = 25
"""Of the event loop, so that a block for many readers does not hold up the folding of the next one."""
SNAPSHOT_S = 1.0
"""So long readers that come at the same block share their snapshot."""
ANEW = "ticks are not remembered so far back, so they are to be read anew; connect again"

Offer = tuple[list[Reader], list[bytes]]


class Hub:
    def __init__(self, served: ServedChain, timeline: Timeline, assembler: Assembler) -> None:
        self._served = served
        self._timeline = timeline
        self._assembler = assembler
        self._channels: dict[Finality, Channel] = {
            "instant": Channel(timeline),
            "safe": Channel(timeline, lambda: assembler.finality.safe),
            "finalized": Channel(timeline, lambda: assembler.finality.finalized),
        }
        self._groups: dict[Asked, set[Reader]] = {}
        self._snapshots: dict[Asked, tuple[float, int, bytes]] = {}

    async def publish(self) -> None:
        """What the timeline has that the readers have not; one that comes meanwhile begins after it."""
        for readers, events in list(self._offers()):
            await _offer(readers, events)

    async def send_status(self) -> None:
        """For ever: every few seconds, though nothing happened."""
        while True:
            await asyncio.sleep(STATUS_S)
            for asked, readers in list(self._groups.items()):
                await _offer(list(readers), [self.status(asked)])

    def subscribe(self, asked: Asked) -> Reader:
        """From here on, the events after the channel's head are offered to it. Raises HttpError."""
        channel = self._channels[asked.finality]
        if channel.head is None and not channel.start():
            raise HttpError(503, self._why_not(asked.finality))
        reader = Reader()
        self._groups.setdefault(asked, set()).add(reader)
        return reader

    def unsubscribe(self, asked: Asked, reader: Reader) -> None:
        group = self._groups.get(asked, set())
        group.discard(reader)
        if not group:
            self._groups.pop(asked, None)
            self._snapshots.pop(asked, None)

    def resume(self, asked: Asked, seen: Block) -> list[bytes] | None:
        """The events after that block; None where a snapshot is needed."""
        steps = self._channels[asked.finality].resume(seen, ticks=asked.wanted.ticks)
        return None if steps is None else [step_event(self._facts(), step, asked.wanted) for step in steps]

    def snapshot(self, asked: Asked) -> bytes:
        """At the channel's head, without ticks."""
        channel = self._channels[asked.finality]
        now_s, known = time.monotonic(), self._snapshots.get(asked)
        if known and known[1] == channel.position and now_s - known[0] < SNAPSHOT_S:
            return known[2]
        event = self.snapshot_with(asked, self.pools(asked), {})
        self._snapshots[asked] = now_s, channel.position, event
        return event

    def pools(self, asked: Asked) -> PoolsAt:
        """At the channel's head."""
        channel = self._channels[asked.finality]
        assert channel.head is not None
        return PoolsAt(channel.head, [entry for entry in channel.pools().values() if asked.wanted.matches(entry)])

    def snapshot_with(self, asked: Asked, found: PoolsAt, ticks: Mapping[PoolId, bytes]) -> bytes:
        return snapshot_event(self._facts(), found, asked.wanted, ticks)

    def status(self, asked: Asked) -> bytes:
        return status_event(self._facts(), self.pools(asked), self._assembler.newest)

    def closed(self, asked: Asked, sentence: str) -> bytes:
        head = self._channels[asked.finality].head
        assert head is not None
        return closed_event(self._facts(), head, sentence)

    def readers(self) -> int:
        return sum(map(len, self._groups.values()))

    def groups(self) -> int:
        """Of readers that ask for the same."""
        return len(self._groups)

    def close(self, sentence: str) -> None:
        for readers in self._groups.values():
            for reader in readers:
                reader.close(sentence)

    def _offers(self) -> Iterator[Offer]:
        for finality, channel in self._channels.items():
            while steps := channel.advance():
                for asked, readers in self._groups.items():
                    if asked.finality == finality:
                        yield list(readers), self._events(asked, steps, readers)

    def _events(self, asked: Asked, steps: Iterable[Step], readers: Iterable[Reader]) -> list[bytes]:
        events: list[bytes] = []
        for step in steps:
            if asked.wanted.ticks and (step.kind == "snapshot" or not step.is_whole):
                for reader in readers:
                    reader.close(ANEW)
            elif step.kind == "snapshot":
                events.append(self.snapshot(asked))
            else:
                events.append(step_event(self._facts(), step, asked.wanted))
        return events

    def _facts(self) -> EnvelopeFacts:
        said = self._assembler.finality
        return EnvelopeFacts(self._served, said.chain_id, said.finalized)

    def _why_not(self, finality: Finality) -> str:
        first = self._timeline.heads[0].number if self._timeline.heads else None
        said = self._assembler.finality
        number = {"instant": first, "safe": said.safe, "finalized": said.finalized}[finality]
        if first is None:
            return "this worker has not read a block of the stream yet; ask again"
        if number is None:
            return f"the node does not say which block is {finality}; ask for finality=instant"
        return f"the {finality} block is {number}, and this worker's stream begins at block {first}; ask again later"


async def _offer(readers: list[Reader], events: list[bytes]) -> None:
    for start in range(0, len(readers), READERS_PER_TURN):
        for reader in readers[start : start + READERS_PER_TURN]:
            for event in events:
                reader.offer(event)
        await asyncio.sleep(0)
