"""Two bridges of one chain, as processes: one is the leader, the other takes over; a frozen one changes nothing."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from settings import Settings
from streams.bridge.leader_election import elected
from streams.kafka.topic_setup import ensure_topics
from tests.support.bridge.bridge_harness import bridge_process
from tests.support.bridge.chain_topic import ChainTopic
from tests.support.bridge.emitting_chain import EmittingChain
from tests.support.bridge.scripted_feed import ScriptedFeed

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"bridge_session_s": 2, "bridge_silence_s": 15})


@pytest.fixture
async def feed(settings: Settings) -> AsyncIterator[ScriptedFeed]:
    started = ScriptedFeed(settings.exex_socket)
    await started.start()
    yield started
    await started.stop()


async def publish(chain: EmittingChain, feed: ScriptedFeed, topic: ChainTopic, blocks: int = 1) -> int:
    """Waits until the blocks are on the topic; returns the number of the last."""
    for _ in range(blocks):
        header = await chain.mine(*chain.busy_events())
        await feed.send_block(header, await chain.updates(header))
    await topic.until_head(header)
    return int(header.number)


async def no_coordinator(client: AIOKafkaClient, kind: int, name: str) -> int:
    """What aiokafka raises for metadata without a broker, as there are for a moment after a broker was frozen."""
    raise AssertionError("Did we not perform bootstrap?")


async def test_a_standby_bridge_ends_when_aiokafka_gives_up_its_group(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_topics(settings)
    monkeypatch.setattr(AIOKafkaClient, "coordinator_lookup", no_coordinator)

    async with asyncio.timeout(60):
        with pytest.raises(KafkaError, match="Did we not perform bootstrap"):
            async with elected(settings):
                pass


async def test_the_other_bridge_takes_over_from_one_that_is_killed(
    settings: Settings, chain: EmittingChain, feed: ScriptedFeed, topic: ChainTopic
) -> None:
    async with bridge_process(settings) as leader:
        first = await publish(chain, feed, topic)
        async with bridge_process(settings):
            await publish(chain, feed, topic, 3)

            leader.kill()
            began = time.monotonic()
            await publish(chain, feed, topic, 3)
            took_s = time.monotonic() - began

    assert topic.blocks == await chain.blocks_from(first)
    assert topic.gaps == []
    assert {part.term for part in topic.partitions} == {2}
    assert took_s < 20


async def test_a_bridge_that_was_frozen_changes_nothing_when_it_wakes_up(
    settings: Settings, chain: EmittingChain, feed: ScriptedFeed, topic: ChainTopic
) -> None:
    async with bridge_process(settings) as leader:
        first = await publish(chain, feed, topic)
        async with bridge_process(settings):
            await publish(chain, feed, topic, 3)

            os.kill(leader.pid, signal.SIGSTOP)
            await publish(chain, feed, topic, 3)
            os.kill(leader.pid, signal.SIGCONT)
            await publish(chain, feed, topic, 3)
            code = await asyncio.wait_for(leader.wait(), 60)
            await publish(chain, feed, topic, 3)

    assert code == 1
    assert topic.blocks == await chain.blocks_from(first)
    assert topic.gaps == []
