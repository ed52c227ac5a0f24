"""How far an earlier run of the backfill got, by its topics, and how it goes on without a missing or doubled block."""

import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from aiokafka import TopicPartition

from protocols.types import Block, PoolId
from replay.backfill.snapshots import read_snapshots
from settings import Settings
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.pool_listing import read_listed
from streams.bridge.published_chain import PublishedChain, common_ancestor
from streams.bridge.resume import resume, resumed_publisher
from streams.kafka.publisher import Publisher
from streams.kafka.records import Head, Listed, SnapshotRecord, Undecodable, decode_chain
from streams.kafka.topic_reader import read_batches, reading_consumer
from streams.kafka.topic_setup import missing_topics
from streams.kafka.topics import topics
from streams.node.client import Node

log = logging.getLogger(__name__)


class ChainReplaced(Exception):
    def __init__(self, topic: str) -> None:
        super().__init__(
            f"the node's chain has no block in common with {topic} any more; delete the backfill's topics, or give it "
            "another --name"
        )


class Written(NamedTuple):
    """By earlier runs."""

    listed: dict[PoolId, Listed]
    first: int | None
    """The first block; None: no block yet."""
    snapshots: list[SnapshotRecord]


async def read_written(settings: Settings) -> Written:
    names = topics(settings.chain)
    if await missing_topics(settings, (names.whitelist, names.snapshots, names.chain)):
        return Written({}, None, [])
    return Written(
        await read_listed(settings), await _first_block(settings, names.chain), await read_snapshots(settings)
    )


async def _first_block(settings: Settings, topic: str) -> int | None:
    """Each partition has a head of every block; a crash may have left some of them without any."""
    firsts = [await _first_head(settings, TopicPartition(topic, number)) for number in range(settings.partitions)]
    return min((first for first in firsts if first is not None), default=None)


async def _first_head(settings: Settings, tp: TopicPartition) -> int | None:
    async with reading_consumer(settings) as consumer:
        begins, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        async with aclosing(read_batches(consumer, tp, begins[tp], ends[tp])) as batches:
            async for records in batches:
                for record in records:
                    if (number := _head_number(record.value or b"")) is not None:
                        return number
    return None


def _head_number(value: bytes) -> int | None:
    try:
        record = decode_chain(value)
    except Undecodable:
        return None
    return record.block.number if isinstance(record, Head) else None


async def resume_chain(settings: Settings, publisher: Publisher, node: Node) -> ChainPublisher:
    """Goes on after the last block that all partitions have; what some have beyond it is not written there again.

    Where the node's chain is another one beyond that block, all partitions go back to it. Raises ChainReplaced,
    NodeUnavailable, RpcError.
    """
    chain, partitions = await resumed_publisher(settings, publisher)
    common = common_ancestor(partitions)
    if await _are_canonical(node, partitions):
        chain.published = _up_to(common, partitions[0])
        chain.ahead = dict(enumerate(partitions))
    elif common is None:
        raise ChainReplaced(topics(settings.chain).chain)
    else:
        await resume(chain, partitions)
    return chain


async def _are_canonical(node: Node, partitions: Sequence[PublishedChain]) -> bool:
    for head in {chain.head for chain in partitions if chain.head is not None}:
        header = await node.header(head.number)
        if header is None or header.hash != head.hash:
            return False
    return True


def _up_to(last: Block | None, chain: PublishedChain) -> PublishedChain:
    published = PublishedChain()
    for block in sorted(chain.descending(), key=lambda block: block.number):
        if last is not None and block.number <= last.number:
            published.publish(block)
    return published
