"""The bridge is stopped anywhere and started again: it continues where the topic ends."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from protocols.types import Block
from protocols.v2 import Sync
from settings import Settings
from streams.bridge.block import CompleteBlock
from streams.bridge.chain_publisher import SecondWriter, block_records
from streams.kafka.clients import producer
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import Gap, Head, Header, Reorg, encode_record
from streams.kafka.topics import topics
from tests.support.bridge.bridge_harness import bridge_process, running_bridge
from tests.support.bridge.chain_topic import ChainTopic
from tests.support.bridge.emitting_chain import V2_POOLS, EmittingChain
from tests.support.bridge.scripted_feed import ScriptedFeed

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"bridge_session_s": 1.5})


async def published(settings: Settings, entries: Sequence[Entry]) -> None:
    async with producer(settings) as sender:
        await Publisher(sender, settings.partitions).send(topics(settings.chain).chain, entries)


async def block_entries(settings: Settings, chain: EmittingChain, number: int) -> list[Entry]:
    header = await chain.header(number)
    read = Header(header.number, header.hash, header.parent, header.timestamp)
    return block_records(CompleteBlock(read, await chain.updates(header)), settings.partitions, None)


async def blocks_entries(settings: Settings, chain: EmittingChain, first: int, last: int) -> list[Entry]:
    return [entry for number in range(first, last + 1) for entry in await block_entries(settings, chain, number)]


async def test_a_bridge_started_again_continues_after_the_last_head(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, *_, last = await chain.mine_busy(5)
    await published(settings, await blocks_entries(settings, chain, first.number, last.number))
    *_, head = await chain.mine_busy(50)

    async with running_bridge(settings):
        await topic.until_head(head)

    assert topic.blocks == await chain.blocks_from(first.number)
    assert (topic.reorgs, topic.gaps) == ([], [])


async def test_a_crash_between_two_partitions_goes_back_to_the_last_common_block(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, *_, last = await chain.mine_busy(5)
    await published(settings, await blocks_entries(settings, chain, first.number, last.number - 1))
    await published(settings, [e for e in await block_entries(settings, chain, last.number) if e.partition == 1])

    async with running_bridge(settings):
        await topic.until_head(last)

    assert topic.blocks == await chain.blocks_from(first.number)
    assert topic.reorgs == [last.number - 1]


async def test_a_crash_inside_a_block_of_one_partition_goes_back(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, *_, last = await chain.mine_busy(3)
    await published(settings, await blocks_entries(settings, chain, first.number, last.number - 1))
    entries = await block_entries(settings, chain, last.number)
    await published(settings, entries[:1])

    async with running_bridge(settings):
        await topic.until_head(last)

    assert topic.blocks == await chain.blocks_from(first.number)
    assert topic.reorgs == [last.number - 1]


async def test_a_crash_while_a_reorg_was_published_goes_back(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, second, third = await chain.mine_busy(3)
    await published(settings, await blocks_entries(settings, chain, first.number, third.number))
    reorg = encode_record(Reorg(Block(second.number, second.hash), Block(third.number, third.hash)))
    await published(settings, [Entry(0, None, reorg)])

    async with running_bridge(settings):
        await topic.until_head(third)

    assert topic.blocks == await chain.blocks_from(first.number)


async def test_a_crash_while_a_gap_was_published_is_healed_from_the_node(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, second, third = await chain.mine_busy(3)
    await published(settings, await blocks_entries(settings, chain, first.number, second.number))
    await published(settings, [Entry(2, None, encode_record(Gap(third.number, third.number, "lost")))])

    async with running_bridge(settings):
        for part in (0, 1):
            while not topic.partitions[part].blocks or topic.partitions[part].blocks[-1][0].block.hash != third.hash:
                topic.partitions[2].gaps.clear()
                await topic.read()

    truth = await chain.blocks_from(first.number)
    assert [head.block.hash for head, _ in topic.partitions[0].blocks] == [hash_ for hash_, _ in truth]


async def test_a_reorg_while_the_bridge_was_away_is_found(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, *_ = await chain.mine_busy(3)
    fork = await chain.snapshot()
    *_, last = await chain.mine_busy(4)
    await published(settings, await blocks_entries(settings, chain, first.number, last.number))
    await chain.revert(fork)
    *_, head = await chain.mine_busy(6)

    async with running_bridge(settings):
        await topic.until_head(head)

    assert topic.blocks == await chain.blocks_from(first.number)
    assert topic.reorgs == [first.number + 2]


async def test_a_reorg_deeper_than_memory_is_a_gap_and_later_blocks_follow(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    """The topic is of another chain of the same name, as when a development node was started afresh."""
    *_, last = await chain.mine_busy(5)
    foreign = [Header(n, f"0x{n:064x}", f"0x{n - 1:064x}", 1) for n in range(2, last.number)]
    entries = [Entry(p, None, encode_record(Head(header, 0))) for header in foreign for p in range(3)]
    await published(settings, entries)

    async with running_bridge(settings):
        await topic.until_head(last)

    (gap,) = topic.gaps
    assert gap.last == last.number - 1
    assert "deeper than" in gap.reason
    assert topic.blocks == await chain.blocks_from(last.number)


async def test_more_missing_blocks_than_allowed_are_a_gap(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    (first,) = await chain.mine_busy(1)
    await published(settings, await block_entries(settings, chain, first.number))
    *_, last = await chain.mine_busy(30)

    async with running_bridge(settings.model_copy(update={"bridge_gap_blocks": 10})):
        await topic.until_head(last)

    assert topic.gaps == [Gap(first.number + 1, last.number - 1, "more than 10 blocks were missed")]
    assert topic.blocks == await chain.blocks_from(last.number)


async def test_after_an_undecodable_record_the_topic_goes_back_to_the_block_before(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    first, *_, last = await chain.mine_busy(3)
    await published(settings, await blocks_entries(settings, chain, first.number, last.number))
    async with running_bridge(settings):
        await topic.until_head(last)
    await published(settings, [Entry(1, V2_POOLS[0].encode(), b"{")])
    head = await chain.mine((V2_POOLS[0], Sync(9, 9)))
    topic.partitions[1].skip_undecodable = True

    async with running_bridge(settings):
        await topic.until_head(head)

    assert topic.blocks == await chain.blocks_from(first.number)
    assert topic.reorgs == [last.number]


async def test_a_bridge_killed_again_and_again_publishes_every_block(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    dice = random.Random(3)
    first, *_, last = await chain.mine_busy(2)
    await published(settings, await blocks_entries(settings, chain, first.number, last.number))
    before = last.number
    for _ in range(3):
        await chain.mine_busy(100)
        async with bridge_process(settings):
            async with asyncio.timeout(60):
                while not any(part.blocks and part.blocks[-1][0].block.number > before for part in topic.partitions):
                    await topic.read()
            await asyncio.sleep(dice.random() * 0.3)
        await topic.read()
        before = topic.partitions[0].blocks[-1][0].block.number
    head = await chain.mine(*chain.busy_events())

    async with running_bridge(settings):
        await topic.until_head(head)

    assert topic.blocks == await chain.blocks_from(first.number)
    assert topic.gaps == []


async def test_a_record_larger_than_a_batch_and_many_batches_go_through(
    settings: Settings, chain: EmittingChain
) -> None:
    values = [b"x" * 3_000_000, *(b"%06d" % number + b"y" * 1000 for number in range(2000))]

    await published(settings, [Entry(0, None, value) for value in values])

    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topics(settings.chain).chain, 0)])
        received = [(await consumer.getone()).value for _ in values]
    assert received == values


async def test_a_second_writer_is_noticed_and_stops_the_bridge(
    settings: Settings, chain: EmittingChain, topic: ChainTopic
) -> None:
    feed = ScriptedFeed(settings.exex_socket)
    await feed.start()
    async with running_bridge(settings) as task:
        one, two = await chain.mine_busy(2)
        await feed.send_block(one, await chain.updates(one))
        await topic.until_head(one)
        await published(settings, [Entry(1, None, encode_record(Gap(7, 7, "from elsewhere")))])
        await feed.send_block(two, await chain.updates(two))

        with pytest.raises(SecondWriter, match=r"another process writes to .*chain: partition 1 continued at offset"):
            await task
    await feed.stop()
