"""Publishes blocks, reorgs and gaps on every partition of `chain`: whole, in order, acknowledged, by one writer."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from protocols.types import Block
from streams.bridge.block import CompleteBlock
from streams.bridge.metrics import BLOCKS, GAPS, HEAD, REORGS, UPDATES
from streams.bridge.published_chain import PublishedChain
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import Gap, Head, Reorg, Update, encode_record
from streams.kafka.topics import partition_of
from streams.node.state.chain_facts import NO_FACTS, ChainFacts

log = logging.getLogger(__name__)

DUPLICATE_OFFSET = -1
"""The broker already had the batch; it does not say at which offset."""


class SecondWriter(Exception):
    def __init__(self, topic: str, partition: int, expected: int, actual: int) -> None:
        super().__init__(
            f"another process writes to {topic}: partition {partition} continued at offset {actual} instead of "
            f"{expected}; stop the other bridge of this chain"
        )


ReadHighestTerm = Callable[[int, int, int], Awaitable[int | None]]
"""The highest term among the records of a partition from one offset up to another."""


class FactsSource(Protocol):
    @property
    def facts(self) -> ChainFacts: ...

    def ask_soon(self) -> None:
        """A block was published."""


class ChainPublisher:
    """Writes the records of `chain` and remembers the blocks; `ends` is the next offset of each partition."""

    def __init__(
        self, publisher: Publisher, topic: str, ends: dict[int, int], term: int, highest_term: ReadHighestTerm
    ) -> None:
        self._publisher = publisher
        self._topic = topic
        self._ends = ends
        self._term = term
        self._read_highest_term = highest_term
        self.facts: FactsSource | None = None
        """Of the chain, as every Head repeats them."""
        self._opened: set[int] = set()
        """Partitions with a record of our term: all readers ignore records of older terms after it."""
        self.published = PublishedChain()
        self.ahead: Mapping[int, PublishedChain] = {}
        """Partitions that a crash left with blocks after `published`: what they have is not written there again."""

    async def publish_blocks(self, blocks: Sequence[CompleteBlock]) -> None:
        await self._send([entry for block in blocks for entry in self._missing_records(block)])
        for block in blocks:
            self.published.publish(Block(block.header.number, block.header.hash))
            UPDATES.inc(len(block.updates))
        if self.facts:
            self.facts.ask_soon()
        BLOCKS.inc(len(blocks))
        HEAD.set(blocks[-1].header.number)

    def _missing_records(self, block: CompleteBlock) -> list[Entry]:
        id_ = Block(block.header.number, block.header.hash)
        has_it = {partition for partition, chain in self.ahead.items() if chain.at(id_.number) == id_}
        facts = self.facts.facts if self.facts else NO_FACTS
        records = block_records(block, self._publisher.partitions, self._term, facts)
        return [entry for entry in records if entry.partition not in has_it]

    async def publish_reorg(self, ancestor: Block, tip: Block | None) -> None:
        await self._send_to_all(Reorg(ancestor, tip, self._term))
        self.published.rewind(ancestor)
        REORGS.inc()
        log.info("reorg: back to block %d %s from %s", ancestor.number, ancestor.hash, tip.number if tip else "a gap")

    async def publish_gap(self, first: int, last: int, reason: str) -> None:
        await self._send_to_all(Gap(first, last, reason, self._term))
        self.published.skip(first, last)
        GAPS.inc()
        log.error("blocks %d to %d are lost: %s", first, last, reason)

    async def _send_to_all(self, record: Reorg | Gap) -> None:
        value = encode_record(record)
        await self._send([Entry(partition, None, value) for partition in range(self._publisher.partitions)])

    async def _send(self, entries: Sequence[Entry]) -> None:
        for partition, batches in (await self._publisher.send(self._topic, entries)).items():
            for offset, count in batches:
                expected = self._ends[partition]
                actual = expected if offset == DUPLICATE_OFFSET else offset
                if actual != expected:
                    await self._check_foreign_records(partition, expected, actual)
                self._ends[partition] = actual + count
            self._opened.add(partition)

    async def _check_foreign_records(self, partition: int, expected: int, actual: int) -> None:
        """A bridge that lost the election may write until it knows; all readers ignore it. Raises SecondWriter."""
        term = await self._read_highest_term(partition, expected, actual)
        if partition not in self._opened or term is None or term >= self._term:
            raise SecondWriter(self._topic, partition, expected, actual)
        log.warning("the bridge of term %d still writes to partition %d; this is term %d", term, partition, self._term)


def block_records(block: CompleteBlock, partitions: int, term: int | None, facts: ChainFacts = NO_FACTS) -> list[Entry]:
    """One Update per pool on its partition, then the Head on every one, with the number of that partition's updates."""
    id_ = Block(block.header.number, block.header.hash)
    updates = [
        Entry(
            partition_of(pool.encode(), partitions),
            pool.encode(),
            encode_record(Update(pool, id_, events, term=term)),
        )
        for pool, events in block.updates.items()
    ]
    counts = Counter(entry.partition for entry in updates)
    heads = [
        encode_record(Head(block.header, counts[partition], term, facts.safe, facts.finalized, facts.chain_id))
        for partition in range(partitions)
    ]
    return updates + [Entry(partition, None, head) for partition, head in enumerate(heads)]
