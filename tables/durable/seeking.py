"""Where each topic partition is fetched from: seeks, the offset that comes next, and going back to missing records."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from aiokafka import ConsumerRecord
from faust.types import TP

from tables.durable.chunks import Chunk, Fetched, cut

log = logging.getLogger(__name__)

TRIES = 5
"""Seeks back to one position, until a missing record is taken to be lost."""


class MissingRecords(Exception):
    def __init__(self, tp: TP, position: int, arrived: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} is folded up to record {position}, and after {TRIES} tries the next "
            f"one that Kafka gives is {arrived}, though it says that it has those between"
        )


class Seeking:
    """Of one consumer. Chunks carry the number of the seek they were fetched after, so that those from before a seek
    are told from those after it."""

    def __init__(self, seek: Callable[[Mapping[TP, int]], Awaitable[None]]) -> None:
        self.fetching = asyncio.Lock()
        """Held by a fetch until its records are made into chunks."""
        self._seek = seek
        self._count = 0
        self._latest: dict[TP, int] = {}
        self._next: dict[TP, int] = {}
        self._tries: dict[TP, tuple[int, int]] = {}

    async def to(self, offsets: Mapping[TP, int]) -> None:
        """Waits for the fetch under way: its records could not be told from those after the seek."""
        async with self.fetching:
            await self._seek(offsets)
            self._count += 1
            self._latest.update(dict.fromkeys(offsets, self._count))
            self._next.update(offsets)

    async def back(self, tp: TP, position: int, arrived: int) -> None:
        """Fetches again from `position`, because `arrived` is the next record that came instead.

        Raises MissingRecords where that was tried too often.
        """
        tried_at, tries = self._tries.get(tp, (position, 0))
        tries = tries + 1 if tried_at == position else 1
        self._tries[tp] = position, tries
        if tries > TRIES:
            raise MissingRecords(tp, position, arrived)
        log.warning("%s partition %d: %d to %d did not arrive", tp.topic, tp.partition, position, arrived - 1)
        await self.to({tp: position})

    def chunks(self, tp: TP, records: Sequence[ConsumerRecord]) -> Iterator[Fetched]:
        """Of the records that one fetch brought."""
        for part in cut(records):
            start = self._next.get(tp, part[0].offset)
            self._next[tp] = part[-1].offset + 1
            yield Fetched(Chunk(tp.topic, tp.partition, part), start, self._count)

    def is_latest(self, fetched: Fetched) -> bool:
        """Whether it was fetched after the last seek of its topic partition; if not, other chunks follow it."""
        return fetched.seek == self._latest.get(TP(fetched.chunk.topic, fetched.chunk.partition), 0)
