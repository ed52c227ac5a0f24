"""Our own feed, the bridge and a list on NATS, on a chain that keeps being reorganised."""

import asyncio
import json
import random
from pathlib import Path

import nats as nats_client
import pytest

from settings import Settings
from streams.feed import process as feed
from streams.secret_url import SecretUrl
from tests.support.bridge.bridge_harness import list_pools, running_bridge
from tests.support.bridge.chain_topic import chain_topic
from tests.support.bridge.emitting_chain import METADATA, POOLS, emitting_chain

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(settings: Settings, rpc: str, tmp_path: Path) -> Settings:
    return settings.model_copy(
        update={"rpc_ws": SecretUrl(rpc.replace("http", "ws")), "data": tmp_path, "bridge_silence_s": 5}
    )


async def say_minimal(settings: Settings) -> None:
    client = await nats_client.connect(str(settings.nats))
    protocols = [pool.protocol for pool in METADATA]
    message = {"type": "full", "pools": POOLS, "protocols": protocols, "chain": settings.chain, "snapshot_id": 1}
    await client.publish(f"whitelist.pools.{settings.chain}.minimal", json.dumps(message).encode())
    await client.flush()
    await client.close()


async def test_through_reorgs_of_any_depth_the_topic_is_the_chain(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(11)
    await list_pools(settings)
    ours = asyncio.create_task(feed.run(settings))
    async with (
        emitting_chain(str(settings.rpc)) as chain,
        chain_topic(settings) as topic,
        running_bridge(settings) as task,
    ):
        topic.writer = task
        while not settings.exex_socket.exists():
            await asyncio.sleep(0.05)
        await say_minimal(settings)
        await asyncio.sleep(1)
        first = await chain.mine()
        await topic.until_head(first)
        for _ in range(8):
            await topic.until_head((await chain.mine_busy(dice.randint(1, 8)))[-1])
            depth = min(dice.randint(1, 7), (await chain.head()).number - first.number - 1)
            if depth > 0:
                await chain.node.call("anvil_reorg", [depth, []])
        head = (await chain.mine_busy(2))[-1]

        await topic.until_head(head)

        assert topic.blocks == await chain.blocks_from(first.number)
        assert topic.gaps == []
        assert len(topic.reorgs) >= 5
    ours.cancel()
    await asyncio.wait([ours])
    assert "feed and node differ" not in caplog.text
