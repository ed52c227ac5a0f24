"""Where each topic partition is fetched from: seeks, the offset that comes next, and going back to missing records."""

import asyncio
import logging
from collections import Counter
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
    """Of one consumer. A chunk carries the number of its topic partition's seeks, so that one from before the last
    seek is not mistaken for one after it."""

    def __init__(self, seek: Callable[[Mapping[TP, int]], Awaitable[None]]) -> None:
        self.fetching = asyncio.Lock()
        """Held by a fetch until its records are made into chunks."""
        self._seek = seek
        self._seeks: Counter[TP] = Counter()
        self._next: dict[TP, int] = {}
        self._tries: dict[TP, tuple[int, int]] = {}

    async def to(self, offsets: Mapping[TP, int]) -> None:
        """Waits for the fetch under way: its records could not be distinguished from those after the seek."""
        for tp in offsets:
            self._tries.pop(tp, None)
        await self._seek_between_fetches(offsets)

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
        await self._seek_between_fetches({tp: position})

    def chunks(self, tp: TP, records: Sequence[ConsumerRecord]) -> Iterator[Fetched]:
        """Of the records that one fetch brought."""
        for part in cut(records):
            start = self._next.get(tp, part[0].offset)
            self._next[tp] = part[-1].offset + 1
            yield Fetched(Chunk(tp.topic, tp.partition, part), start, self._seeks[tp])

    def is_latest(self, fetched: Fetched) -> bool:
        """Whether it was fetched after the last seek of its topic partition; if not, other chunks follow it."""
        return fetched.seek == self._seeks[TP(fetched.chunk.topic, fetched.chunk.partition)]

    async def _seek_between_fetches(self, offsets: Mapping[TP, int]) -> None:
        async with self.fetching:
            await self._seek(offsets)
            self._seeks.update(dict.fromkeys(offsets, 1))
            self._next.update(offsets)
