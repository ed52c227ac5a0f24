"""Rebuilds the bridge's position from the topic `chain` after a restart."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from settings import Settings
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.published_chain import PublishedChain, common_ancestor, have_same_end, replay_records
from streams.kafka.publisher import Publisher
from streams.kafka.records import ChainRecord, Undecodable, decode_chain
from streams.kafka.topic_reader import read_range, reading_consumer
from streams.kafka.topics import topics

log = logging.getLogger(__name__)

ENOUGH_BLOCKS = 256
FIRST_SPAN = 2_000
"""Records read from the end at first; four times as many until they hold enough blocks."""


class PartitionEnd(NamedTuple):
    offset: int
    """Of the next record."""
    published: PublishedChain


async def read_partition_ends(settings: Settings, topic: str) -> dict[int, PartitionEnd]:
    """The end of every partition of `chain`, and the blocks that it has complete."""
    partitions = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
    async with reading_consumer(settings) as consumer:
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return {
            tp.partition: PartitionEnd(ends[tp], await _read_back(consumer, tp, begins[tp], ends[tp]))
            for tp in partitions
        }


async def resumed_publisher(settings: Settings, publisher: Publisher) -> tuple[ChainPublisher, list[PublishedChain]]:
    """At the end of the topic `chain`, in a term of its own; and what each partition has complete."""
    topic = topics(settings.chain).chain
    partitions = await read_partition_ends(settings, topic)
    term = 1 + max(end.published.term for end in partitions.values())
    offsets = {partition: end.offset for partition, end in partitions.items()}
    chain = ChainPublisher(publisher, topic, offsets, term, partial(highest_term, settings, topic))
    log.info("writing to %s in term %d", topic, term)
    return chain, [end.published for _, end in sorted(partitions.items())]


async def highest_term(settings: Settings, topic: str, partition: int, first: int, end: int) -> int | None:
    """Of the records from offset `first` up to `end`; None where one has none."""
    tp = TopicPartition(topic, partition)
    async with reading_consumer(settings) as consumer:
        found = [_decode(record) for record in await read_range(consumer, tp, first, end)]
    terms = [record.term if record else None for record in found]
    return None if None in terms else max((term for term in terms if term is not None), default=None)


async def resume(publisher: ChainPublisher, partitions: Sequence[PublishedChain]) -> None:
    """Partitions that a crash left at different blocks, or inside one, go back to the last block they all have."""
    longest = max(partitions, key=len)
    if have_same_end(partitions):
        publisher.published = longest
        log.info("the topic %s", "is empty" if longest.last is None else f"ends at block {longest.last}")
    elif ancestor := common_ancestor(partitions):
        log.info("the partitions end at different blocks; all go back to block %d", ancestor.number)
        publisher.published = longest
        heads = [chain.head for chain in partitions if chain.head is not None]
        await publisher.publish_reorg(ancestor, max(heads, key=lambda head: head.number, default=None))
    elif numbers := [number for chain in partitions for number in (chain.oldest, chain.last) if number is not None]:
        await publisher.publish_gap(min(numbers), max(numbers), "the partitions of the topic have no block in common")


async def _read_back(consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int) -> PublishedChain:
    span = FIRST_SPAN
    while True:
        start = max(begin, end - span)
        published = replay_records([_decode(record) for record in await read_range(consumer, tp, start, end)])
        if start == begin or len(published) >= ENOUGH_BLOCKS:
            return published
        span *= 4


def _decode(record: ConsumerRecord) -> ChainRecord | None:
    """None: undecodable, so the block that it belongs to is not complete."""
    try:
        return decode_chain(record.value or b"")
    except Undecodable as error:
        log.warning("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, error)
        return None
