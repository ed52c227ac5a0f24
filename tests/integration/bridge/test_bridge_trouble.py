"""Feed, node or broker are slow, away or wrong: no block is lost without a Gap."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lab.devnet.servers.kafka import Kafka
from protocols.events import Sync
from settings import Settings
from streams.exex.control import BeginBlock, EndBlock
from streams.kafka import publisher
from streams.kafka.publisher import ProduceFailed
from streams.kafka.topic_setup import KafkaUnreachable
from tests.support.bridge_harness import (
    V2_POOLS,
    Chain,
    Door,
    Feed,
    bridging,
    emitting,
    list_pools,
    reading,
    stage,
    told,
    told_reorg,
)

pytestmark = pytest.mark.servers


@pytest.fixture
def rpc(anvil: Callable[..., str]) -> str:
    return anvil()


@pytest.fixture
async def door(rpc: str) -> AsyncIterator[Door]:
    door_ = Door(rpc)
    await door_.open()
    yield door_
    door_.shut()


@pytest.fixture
def settings(kafka: str, nats: str, chain_name: str, tmp_path: Path, door: Door) -> Settings:
    return Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=door.rpc,
        exex_socket=tmp_path / "exex.sock",
        partitions=3,
        bridge_patience_s=2,
        bridge_silence_s=60,
    )


async def test_a_node_that_is_away_for_a_moment_costs_nothing(settings: Settings, rpc: str, door: Door) -> None:
    async with stage(settings, rpc) as on:
        first, *_ = await on.live(2)
        door.shut()
        for header in await on.chain.busy(3):
            await on.feed.tell(header, await on.chain.updates(header))
        await asyncio.sleep(0.5)
        await door.open()

        await on.live()

        await on.right(first.number)
        assert on.topic.gaps == []


async def test_a_node_that_stays_away_leaves_a_gap(settings: Settings, rpc: str, door: Door) -> None:
    async with stage(settings, rpc) as on:
        _, last = await on.live(2)
        door.shut()
        (lost,) = await on.chain.busy(1)
        await on.feed.tell(lost, await on.chain.updates(lost))

        gap = await on.topic.until_gap()
        await door.open()
        first, *_ = await on.live(2)

        assert (gap.first, gap.last) == (last.number + 1, lost.number)
        assert "127.0.0.1" in gap.reason
        await on.right(first.number)


async def test_a_feed_ahead_of_its_node_is_waited_for(settings: Settings, rpc: str) -> None:
    async with stage(settings, rpc) as on:
        first, last = await on.live(2)
        await on.feed.say(BeginBlock(0, last.number + 1, last.timestamp + 1, 1, False), EndBlock(0, last.number + 1, 0))
        await asyncio.sleep(0.3)
        header = await on.chain.mine(*on.chain.some())

        await on.topic.until(header)

        await on.right(first.number)


@pytest.mark.parametrize("node_answers", [True, False])
async def test_a_block_number_that_no_chain_has_is_ignored(
    settings: Settings, rpc: str, door: Door, node_answers: bool
) -> None:
    async with stage(settings, rpc) as on:
        first, last = await on.live(2)
        if not node_answers:
            door.shut()
        absurd = last.number + 2**40
        await on.feed.say(BeginBlock(0, absurd, last.timestamp + 1, 1, False), EndBlock(0, absurd, 0))
        await asyncio.sleep(2 * settings.bridge_patience_s)
        if not node_answers:
            await door.open()
        on.feed.hang_up()

        await on.live(2)

        await on.right(first.number)
        assert on.topic.gaps == []


async def test_a_full_buffer_gives_the_connection_up_and_loses_nothing(
    settings: Settings, rpc: str, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(settings.model_copy(update={"bridge_buffer": 5, "bridge_patience_s": 20.0}), rpc) as on:
        first, *_ = await on.live(2)
        door.shut()
        for header in await on.chain.busy(20):
            await on.feed.tell(header, await on.chain.updates(header))
        await asyncio.sleep(0.3)
        on.feed.hang_up()
        await door.open()

        await on.live()

        await on.right(first.number)
        assert "5 blocks of the feed wait for Kafka or the node" in caplog.text


async def test_a_silent_feed_is_reported_and_the_blocks_come_from_the_node(
    settings: Settings, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(settings.model_copy(update={"bridge_silence_s": 0.5}), rpc) as on:
        first, last = await on.live(2)
        *_, head = await on.chain.busy(3)

        await on.topic.until(head)

        await on.right(first.number)
        assert f"the topic ends at block {last.number}, the feed is silent, the node is at" in caplog.text


async def test_without_a_feed_the_bridge_waits_and_says_so_once(
    settings: Settings, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    await list_pools(settings)
    feed = Feed(settings.exex_socket)
    async with emitting(rpc) as chain, reading(settings) as topic, bridging(settings):
        await asyncio.sleep(2.5)
        await feed.start()
        header = await chain.mine()
        await feed.tell(header, {})

        await topic.until(header)

    await feed.stop()
    assert caplog.text.count(f"no feed at {settings.exex_socket}") == 1


async def test_a_pool_whose_logs_are_not_those_of_its_protocol_is_taken_off_the_list(
    settings: Settings, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(settings, rpc) as on:
        first, *_ = await on.live(2)
        impostor, honest = V2_POOLS[0], V2_POOLS[1]
        header = await on.chain.mine((impostor, Sync(2**112, 1)), (honest, Sync(1, 1)))
        await on.feed.tell(header, {})

        await on.topic.until(header)

        assert on.topic.blocks[-1][1] == {honest: (Sync(1, 1),)}
        assert f"pool {impostor} is taken off the list: block {header.number}" in caplog.text
        assert first.number < header.number


async def test_whatever_the_feed_sends_the_topic_is_the_chain(settings: Settings, rpc: str) -> None:
    """Random blocks, reorgs, losses, lies and hang-ups, the chain moving on while the bridge walks."""
    dice = random.Random(20)
    async with stage(settings, rpc) as on:
        first, *_ = await on.live(5)
        for _ in range(40):
            await _disturb(dice, on.chain, on.feed)
        await on.live()

        await on.right(first.number)
        assert on.topic.gaps == []
        assert len(on.topic.reorgs) > 3


async def _disturb(dice: random.Random, chain: Chain, feed: Feed) -> None:
    fork = await chain.snapshot()
    old = [(header, await chain.updates(header)) for header in await chain.busy(dice.randint(1, 4))]
    for header, updates in old:
        messages = told(header, dice.choice([updates, updates, {}]))
        if dice.random() < 0.2:
            del messages[dice.randrange(len(messages))]
            feed.lose(1)
        await feed.say(*messages)
    if dice.random() < 0.2:
        feed.hang_up()
    await asyncio.sleep(dice.choice([0, 0.2]))
    if dice.random() < 0.4:
        await chain.revert(fork)
        new = [(header, await chain.updates(header)) for header in await chain.busy(dice.randint(1, 5))]
        if dice.random() < 0.5:
            await feed.say(*told_reorg(old, new)[dice.choice([0, 0, 0, 5]) :])


async def test_a_broker_that_dies_stops_the_bridge_with_a_sentence_and_nothing_is_lost(
    settings: Settings, rpc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PRODUCE_TIMEOUT_S", 3.0)
    with Kafka() as broker:
        settings = settings.model_copy(update={"kafka": broker.address})
        async with stage(settings, rpc) as on:
            first, *_ = await on.live(3)
            broker.kill()
            header = await on.chain.mine(*on.chain.some())
            await on.feed.tell(header, await on.chain.updates(header))
            with pytest.raises(ProduceFailed, match="Kafka did not acknowledge records for"):
                await asyncio.wait_for(asyncio.shield(on.bridge), 60)

            await asyncio.to_thread(broker.start)
            async with reading(settings) as topic, bridging(settings):
                await topic.until(header)

                assert topic.blocks == await on.chain.truth(first.number)


async def test_without_kafka_at_start_the_bridge_ends_with_a_sentence(settings: Settings, unused_tcp_port: int) -> None:
    nowhere = {"kafka": f"127.0.0.1:{unused_tcp_port}", "kafka_patience_s": 0.5}

    with pytest.raises(KafkaUnreachable, match="start it, or point ARENA_KAFKA to it"):
        async with bridging(settings.model_copy(update=nowhere)) as task:
            await task
