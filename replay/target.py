"""Which block a replay goes to: its canonical hash, as the topic `chain` has it in the end."""

from aiokafka import TopicPartition

from protocols.types import Block
from settings import Settings
from streams.bridge.published_chain import PublishedChain, common_ancestor
from streams.bridge.resume import read_partition_ends
from streams.kafka.records import Undecodable, decode_chain
from streams.kafka.topic_reader import read_batches, reading_consumer

MOST_BLOCKS = 10_000_000


class NoSuchBlock(Exception):
    """The topic does not have the block."""


async def target_block(settings: Settings, topic: str, number: int | None) -> Block:
    """The canonical block of that number; None: the newest that every partition has complete. Raises NoSuchBlock."""
    if number is None:
        return await _newest(settings, topic)
    chain = await _published(settings, topic)
    block = chain.at(number)
    if block is None:
        have = "no block" if chain.oldest is None else f"blocks {chain.oldest} to {chain.last} at most"
        raise NoSuchBlock(f"{topic} has {have}; block {number} is not among them")
    return block


async def _newest(settings: Settings, topic: str) -> Block:
    ends = await read_partition_ends(settings, topic)
    block = common_ancestor([end.published for end in ends.values()])
    if block is None:
        raise NoSuchBlock(f"the partitions of {topic} have no complete block in common; has a bridge written to it?")
    return block


async def _published(settings: Settings, topic: str) -> PublishedChain:
    """All blocks of the topic. Heads, reorgs and gaps stand on every partition, without a key."""
    chain = PublishedChain(MOST_BLOCKS)
    tp = TopicPartition(topic, 0)
    async with reading_consumer(settings) as consumer:
        begins, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        async for records in read_batches(consumer, tp, begins[tp], ends[tp]):
            for record in records:
                if record.key is None:
                    _replay(chain, record.value or b"")
    return chain


def _replay(chain: PublishedChain, value: bytes) -> None:
    try:
        chain.replay(decode_chain(value))
    except Undecodable:
        chain.replay(None)
