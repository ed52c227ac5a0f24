"""The bridge while feed, node or broker are slow, unreachable or wrong: no block is lost without a Gap."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.devnet.servers.kafka import Kafka
from protocols.v2 import Sync
from settings import Settings
from streams.bridge import metrics
from streams.exex.control_messages import BeginBlock, EndBlock
from streams.kafka import publisher
from streams.kafka.publisher import ProduceFailed
from streams.kafka.topic_setup import KafkaUnreachable
from streams.secret_url import SecretUrl
from tests.support.bridge.bridge_harness import NodeLink, bridge_system, list_pools, running_bridge
from tests.support.bridge.chain_topic import chain_topic
from tests.support.bridge.emitting_chain import V2_POOLS, EmittingChain, emitting_chain
from tests.support.bridge.scripted_feed import ScriptedFeed, block_messages, reorg_messages
from tests.support.rpc_proxy import Call, error, proxied

pytestmark = pytest.mark.servers


@pytest.fixture
async def node_link(rpc: str) -> AsyncIterator[NodeLink]:
    link = NodeLink(rpc)
    await link.open()
    yield link
    link.close()


@pytest.fixture
def settings(settings: Settings, node_link: NodeLink) -> Settings:
    return settings.model_copy(update={"rpc": SecretUrl(node_link.rpc)})


async def test_a_node_that_is_away_for_a_moment_costs_nothing(
    settings: Settings, rpc: str, node_link: NodeLink
) -> None:
    async with bridge_system(settings, rpc) as system:
        first, *_ = await system.feed_blocks(2)
        node_link.close()
        for header in await system.chain.mine_busy(3):
            await system.feed.send_block(header, await system.chain.updates(header))
        await asyncio.sleep(0.5)
        await node_link.open()

        await system.feed_blocks()

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []


async def test_a_node_that_stays_away_is_waited_for_and_leaves_no_gap(
    settings: Settings, rpc: str, node_link: NodeLink, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridge_system(settings, rpc) as system:
        first, *_ = await system.feed_blocks(2)
        node_link.close()
        for header in await system.chain.mine_busy(3):
            await system.feed.send_block(header, await system.chain.updates(header))
        await asyncio.sleep(3 * settings.bridge_patience_s)
        assert metrics.NODE_AWAY._value.get() == 1
        assert "The node: " in caplog.text
        await node_link.open()

        await system.feed_blocks()

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []
        assert metrics.NODE_AWAY._value.get() == 0


async def test_a_node_that_answers_and_refuses_a_block_leaves_a_gap(settings: Settings, rpc: str) -> None:
    refused: list[str] = []
    async with (
        proxied(
            rpc, lambda call: error("history pruned", 4444) if refused and refused[0] in str(call) else None
        ) as node,
        bridge_system(settings.model_copy(update={"rpc": SecretUrl(node.url)}), rpc) as system,
    ):
        _, last = await system.feed_blocks(2)
        (lost,) = await system.chain.mine_busy(1)
        refused.append(lost.hash)
        await system.feed.send_block(lost, await system.chain.updates(lost))

        gap = await system.topic.until_gap()
        first, *_ = await system.feed_blocks(2)

        assert (gap.first, gap.last) == (last.number + 1, lost.number)
        assert "history pruned" in gap.reason
        await system.assert_topic_is_chain(first.number)


async def test_what_the_node_has_dropped_becomes_a_gap_at_once(settings: Settings, rpc: str) -> None:
    dropped: list[str] = []
    asked: list[Call] = []

    def rule(call: Call) -> Call | None:
        if not dropped or dropped[0] not in str(call) or call["method"] != "eth_getLogs":
            return None
        asked.append(call)
        return error("pruned history unavailable", 4444)

    changes = {"bridge_patience_s": 600.0}
    async with (
        proxied(rpc, rule) as node,
        bridge_system(settings.model_copy(update={**changes, "rpc": SecretUrl(node.url)}), rpc) as system,
    ):
        _, last = await system.feed_blocks(2)
        (lost,) = await system.chain.mine_busy(1)
        dropped.append(lost.hash)
        await system.feed.send_block(lost, await system.chain.updates(lost))

        gap = await asyncio.wait_for(system.topic.until_gap(), 20)
        first, *_ = await system.feed_blocks(2)

        assert (gap.first, gap.last) == (last.number + 1, lost.number)
        assert gap.reason == ("the node has dropped this part of its history: pruned history unavailable (code 4444)")
        assert len(asked) == 1
        await system.assert_topic_is_chain(first.number)


@pytest.mark.parametrize(
    "answer",
    [
        error("too many requests", 429),
        error("daily request count exceeded, request rate limited", -32005),
        error("no", -32601),
    ],
)
async def test_a_node_that_refuses_everything_is_waited_for(
    settings: Settings, rpc: str, answer: dict[str, Any]
) -> None:
    refusing = False
    async with (
        proxied(rpc, lambda call: answer if refusing else None) as node,
        bridge_system(settings.model_copy(update={"rpc": SecretUrl(node.url)}), rpc) as system,
    ):
        first, *_ = await system.feed_blocks(2)
        refusing = True
        for header in await system.chain.mine_busy(3):
            await system.feed.send_block(header, await system.chain.updates(header))
        await asyncio.sleep(2.5 * settings.bridge_patience_s)
        refusing = False

        await system.feed_blocks()

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []


async def test_a_node_that_drops_every_fifth_request_costs_nothing(settings: Settings, rpc: str) -> None:
    dice = random.Random(5)
    async with (
        proxied(rpc, lambda _: error("rate limit exceeded", -32005) if dice.random() < 0.2 else None) as node,
        bridge_system(settings.model_copy(update={"rpc": SecretUrl(node.url)}), rpc) as system,
    ):
        first, *_ = await system.feed_blocks(2)
        await system.chain.mine_busy(60)

        await system.feed_blocks()

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []


async def test_a_feed_ahead_of_its_node_is_waited_for(settings: Settings, rpc: str) -> None:
    async with bridge_system(settings, rpc) as system:
        first, last = await system.feed_blocks(2)
        await system.feed.send(
            BeginBlock(0, last.number + 1, last.timestamp + 1, 1, False), EndBlock(0, last.number + 1, 0)
        )
        await asyncio.sleep(0.3)
        header = await system.chain.mine(*system.chain.busy_events())

        await system.topic.until_head(header)

        await system.assert_topic_is_chain(first.number)


@pytest.mark.parametrize("node_answers", [True, False])
async def test_a_block_number_that_no_chain_has_is_ignored(
    settings: Settings, rpc: str, node_link: NodeLink, node_answers: bool
) -> None:
    async with bridge_system(settings, rpc) as system:
        first, last = await system.feed_blocks(2)
        if not node_answers:
            node_link.close()
        absurd = last.number + 2**40
        await system.feed.send(BeginBlock(0, absurd, last.timestamp + 1, 1, False), EndBlock(0, absurd, 0))
        await asyncio.sleep(2 * settings.bridge_patience_s)
        if not node_answers:
            await node_link.open()
        system.feed.disconnect()

        await system.feed_blocks(2)

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []


async def test_a_full_buffer_closes_the_connection_and_loses_nothing(
    settings: Settings, rpc: str, node_link: NodeLink, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridge_system(
        settings.model_copy(update={"bridge_buffer": 5, "bridge_patience_s": 20.0}), rpc
    ) as system:
        first, *_ = await system.feed_blocks(2)
        node_link.close()
        for header in await system.chain.mine_busy(20):
            await system.feed.send_block(header, await system.chain.updates(header))
        await asyncio.sleep(0.3)
        system.feed.disconnect()
        await node_link.open()

        await system.feed_blocks()

        await system.assert_topic_is_chain(first.number)
        assert "5 blocks of the feed wait for Kafka or the node" in caplog.text


async def test_a_silent_feed_is_reported_and_the_blocks_come_from_the_node(
    settings: Settings, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridge_system(settings.model_copy(update={"bridge_silence_s": 0.5}), rpc) as system:
        first, last = await system.feed_blocks(2)
        *_, head = await system.chain.mine_busy(3)

        await system.topic.until_head(head)

        await system.assert_topic_is_chain(first.number)
        assert f"the topic ends at block {last.number}, the feed is silent, the node is at" in caplog.text


async def test_without_a_feed_the_bridge_waits_and_logs_it_once(
    settings: Settings, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    await list_pools(settings)
    feed = ScriptedFeed(settings.exex_socket)
    async with emitting_chain(rpc) as chain, chain_topic(settings) as topic, running_bridge(settings):
        await asyncio.sleep(2.5)
        await feed.start()
        header = await chain.mine()
        await feed.send_block(header, {})

        await topic.until_head(header)

    await feed.stop()
    assert caplog.text.count(f"no feed at {settings.exex_socket}") == 1


async def test_a_pool_whose_logs_are_not_those_of_its_protocol_is_taken_off_the_list(
    settings: Settings, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridge_system(settings, rpc) as system:
        first, *_ = await system.feed_blocks(2)
        impostor, honest = V2_POOLS[0], V2_POOLS[1]
        header = await system.chain.mine((impostor, Sync(2**112, 1)), (honest, Sync(1, 1)))
        await system.feed.send_block(header, {})

        await system.topic.until_head(header)

        assert system.topic.blocks[-1][1] == {honest: (Sync(1, 1),)}
        assert f"pool {impostor} is taken off the list: block {header.number}" in caplog.text
        assert first.number < header.number


async def test_whatever_the_feed_sends_the_topic_is_the_chain(settings: Settings, rpc: str) -> None:
    """Random blocks, reorgs, losses, wrong updates and disconnections, while the chain grows."""
    dice = random.Random(20)
    async with bridge_system(settings, rpc) as system:
        first, *_ = await system.feed_blocks(5)
        for _ in range(40):
            await _disturb(dice, system.chain, system.feed)
        await system.feed_blocks()

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []
        assert len(system.topic.reorgs) > 3


async def _disturb(dice: random.Random, chain: EmittingChain, feed: ScriptedFeed) -> None:
    fork = await chain.snapshot()
    old = [(header, await chain.updates(header)) for header in await chain.mine_busy(dice.randint(1, 4))]
    for header, updates in old:
        messages = block_messages(header, dice.choice([updates, updates, {}]))
        if dice.random() < 0.2:
            del messages[dice.randrange(len(messages))]
            feed.skip(1)
        await feed.send(*messages)
    if dice.random() < 0.2:
        feed.disconnect()
    await asyncio.sleep(dice.choice([0, 0.2]))
    if dice.random() < 0.4:
        await chain.revert(fork)
        new = [(header, await chain.updates(header)) for header in await chain.mine_busy(dice.randint(1, 5))]
        if dice.random() < 0.5:
            await feed.send(*reorg_messages(old, new)[dice.choice([0, 0, 0, 5]) :])


async def test_a_broker_that_dies_stops_the_bridge_with_a_sentence_and_nothing_is_lost(
    settings: Settings, rpc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PRODUCE_TIMEOUT_S", 3.0)
    with Kafka() as broker:
        settings = settings.model_copy(update={"kafka": broker.address})
        async with bridge_system(settings, rpc) as system:
            first, *_ = await system.feed_blocks(3)
            broker.kill()
            header = await system.chain.mine(*system.chain.busy_events())
            await system.feed.send_block(header, await system.chain.updates(header))
            with pytest.raises(ProduceFailed, match="Kafka did not acknowledge records for"):
                await asyncio.wait_for(asyncio.shield(system.bridge), 60)

            await asyncio.to_thread(broker.start)
            async with chain_topic(settings) as topic, running_bridge(settings):
                await topic.until_head(header)

                assert topic.blocks == await system.chain.blocks_from(first.number)


async def test_without_kafka_at_start_the_bridge_ends_with_a_sentence(settings: Settings, unused_tcp_port: int) -> None:
    nowhere = {"kafka": f"127.0.0.1:{unused_tcp_port}", "kafka_patience_s": 0.5}

    with pytest.raises(KafkaUnreachable, match="start it, or point ARENA_KAFKA to it"):
        async with running_bridge(settings.model_copy(update=nowhere)) as task:
            await task
