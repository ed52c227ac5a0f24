"""What is on the topics already: where the bridge that wrote it stopped, and the list it held."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from settings import Settings
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.published_chain import PublishedChain, agree, common, replayed
from streams.kafka.records import ChainRecord, Undecodable, decode_chain
from streams.kafka.topic_reader import read_range, reading_consumer

log = logging.getLogger(__name__)

ENOUGH_BLOCKS = 256
FIRST_SPAN = 2_000
"""Records read back at first; four times as many until there are enough blocks in them."""


class Tail(NamedTuple):
    end: int
    """The offset of the next record."""
    memory: PublishedChain


async def tails(settings: Settings, topic: str) -> dict[int, Tail]:
    """The end of every partition of `chain`, and the blocks that it has complete."""
    partitions = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
    async with reading_consumer(settings) as consumer:
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return {tp.partition: Tail(ends[tp], await _memory(consumer, tp, begins[tp], ends[tp])) for tp in partitions}


async def highest_term(settings: Settings, topic: str, partition: int, first: int, end: int) -> int | None:
    """Of the records from offset `first` up to `end`; None where one has none."""
    tp = TopicPartition(topic, partition)
    async with reading_consumer(settings) as consumer:
        found = [_decoded(record) for record in await read_range(consumer, tp, first, end)]
    terms = [record.term if record else None for record in found]
    return None if None in terms else max((term for term in terms if term is not None), default=None)


async def resume(chain: ChainPublisher, memories: Sequence[PublishedChain]) -> None:
    """Partitions that a crash left at different blocks, or inside one, are brought back to a block they all have."""
    fullest = max(memories, key=len)
    if agree(memories):
        chain.memory = fullest
        log.info("the topic %s", "is empty" if fullest.last is None else f"ends at block {fullest.last}")
    elif ancestor := common(memories):
        log.info("the partitions end at different blocks; all go back to block %d", ancestor.number)
        chain.memory = fullest
        heads = [memory.head for memory in memories if memory.head is not None]
        await chain.reorg(ancestor, max(heads, key=lambda head: head.number, default=None))
    elif numbers := [number for memory in memories for number in (memory.oldest, memory.last) if number is not None]:
        await chain.gap(min(numbers), max(numbers), "the partitions of the topic agree on no block")


async def _memory(consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int) -> PublishedChain:
    span = FIRST_SPAN
    while True:
        start = max(begin, end - span)
        memory = replayed([_decoded(record) for record in await read_range(consumer, tp, start, end)])
        if start == begin or len(memory) >= ENOUGH_BLOCKS:
            return memory
        span *= 4


def _decoded(record: ConsumerRecord) -> ChainRecord | None:
    """None: unreadable, so that the block it stands in cannot be taken as complete."""
    try:
        return decode_chain(record.value or b"")
    except Undecodable as error:
        log.warning("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, error)
        return None
