"""Records onto the partitions of a topic: whole, in order, acknowledged, and by one writer only."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from protocols.types import Block
from streams.bridge.block import ReadBlock
from streams.bridge.metrics import BLOCKS, GAPS, HEAD, REORGS, UPDATES
from streams.bridge.published_chain import PublishedChain
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import Gap, Head, Reorg, Update, encode_record
from streams.kafka.topics import partition_of

log = logging.getLogger(__name__)

DUPLICATE_OFFSET = -1
"""The broker had the batch already; it does not say where."""


class SecondWriter(Exception):
    def __init__(self, topic: str, partition: int, expected: int, actual: int) -> None:
        super().__init__(
            f"somebody else writes to {topic}: partition {partition} went on at offset {actual} instead of {expected}; "
            "stop the other bridge of this chain"
        )


HighestTerm = Callable[[int, int, int], Awaitable[int | None]]
"""Of the records of a partition from one offset up to another."""


class ChainPublisher:
    """Writes the records of `chain` and remembers what they said; `ends` is where each partition ends."""

    def __init__(self, publisher: Publisher, topic: str, ends: dict[int, int], term: int, highest: HighestTerm) -> None:
        self._publisher = publisher
        self._topic = topic
        self._ends = ends
        self._term = term
        self._highest_term = highest
        self._opened: set[int] = set()
        """Partitions that have a record of our term: older ones after it are ignored by all readers."""
        self.memory = PublishedChain()

    async def blocks(self, blocks: Sequence[ReadBlock]) -> None:
        await self._send(
            [entry for block in blocks for entry in block_records(block, self._publisher.partitions, self._term)]
        )
        for block in blocks:
            self.memory.publish(Block(block.header.number, block.header.hash))
            UPDATES.inc(len(block.updates))
        BLOCKS.inc(len(blocks))
        HEAD.set(blocks[-1].header.number)

    async def reorg(self, ancestor: Block, tip: Block | None) -> None:
        await self._everywhere(Reorg(ancestor, tip, self._term))
        self.memory.rewind(ancestor)
        REORGS.inc()
        log.info("reorg: back to block %d %s from %s", ancestor.number, ancestor.hash, tip.number if tip else "a gap")

    async def gap(self, first: int, last: int, reason: str) -> None:
        await self._everywhere(Gap(first, last, reason, self._term))
        self.memory.lose(first, last)
        GAPS.inc()
        log.error("blocks %d to %d are lost: %s", first, last, reason)

    async def _everywhere(self, record: Reorg | Gap) -> None:
        value = encode_record(record)
        await self._send([Entry(partition, None, value) for partition in range(self._publisher.partitions)])

    async def _send(self, entries: Sequence[Entry]) -> None:
        for partition, batches in (await self._publisher.send(self._topic, entries)).items():
            for offset, count in batches:
                expected = self._ends[partition]
                actual = expected if offset == DUPLICATE_OFFSET else offset
                if actual != expected:
                    await self._tolerate(partition, expected, actual)
                self._ends[partition] = actual + count
            self._opened.add(partition)

    async def _tolerate(self, partition: int, expected: int, actual: int) -> None:
        """A bridge that was replaced may write until it knows; what it writes counts for nobody."""
        term = await self._highest_term(partition, expected, actual)
        if partition not in self._opened or term is None or term >= self._term:
            raise SecondWriter(self._topic, partition, expected, actual)
        log.warning("a bridge of term %d still writes to partition %d; this is term %d", term, partition, self._term)


def block_records(block: ReadBlock, partitions: int, term: int | None) -> list[Entry]:
    """One Update per pool to its partition, then the Head, with the partition's own count, to every one."""
    at = Block(block.header.number, block.header.hash)
    updates = [
        Entry(
            partition_of(pool.encode(), partitions), pool.encode(), encode_record(Update(pool, at, events, term=term))
        )
        for pool, events in block.updates.items()
    ]
    counts = Counter(entry.partition for entry in updates)
    heads = [encode_record(Head(block.header, counts[partition], term)) for partition in range(partitions)]
    return updates + [Entry(partition, None, head) for partition, head in enumerate(heads)]
