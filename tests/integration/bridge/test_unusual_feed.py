"""A real bridge and broker behind a feed that is unusual, and one that lies: the topic is the chain, without a gap.

ARENA_TEST_SEED=… for other feeds.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from lab.fuzz import mutation, other_dexes
from lab.fuzz.unusual_feed import LIES, UNUSUAL, Change, as_sent
from lab.fuzz.wire import golden
from settings import Settings
from streams.exex.control_messages import Skipped
from streams.feed.blocks import FeedMessage
from streams.node.blocks import NodeHeader
from tests.support.bridge.bridge_harness import BridgeSystem, bridge_system
from tests.support.bridge.emitting_chain import Updates
from tests.support.bridge.scripted_feed import block_messages, reorg_messages

pytestmark = pytest.mark.servers

STEPS = 40
GOLDEN = golden("control.jsonl")


class UnusualFeed:
    """Numbers what it sends without a hole, in any cuts, and ends a connection now and then."""

    def __init__(self, system: BridgeSystem, random: Random, changes: Sequence[Change], *, damages: bool) -> None:
        self._system, self._random, self._changes, self._damages = system, random, changes, damages
        self._seq = 0

    async def send(self, messages: Sequence[object]) -> None:
        random, feed = self._random, self._system.feed
        step: list[FeedMessage] = [message for message in messages if not isinstance(message, Skipped)]  # type: ignore[misc]
        frames = []
        for message in other_dexes.among(random, as_sent(random, step, self._changes)):
            self._seq += 1
            frames.append(other_dexes.frame(random, message, self._seq))
        data = b"".join(frames)
        if self._damages and random.random() < 0.2:
            data = mutation.of_bytes(random, data, GOLDEN)
        await feed.until_connected()
        for cut in mutation.cuts(random, data):
            await feed.write(cut)
            if random.random() < 0.03:
                feed.disconnect()
                await feed.until_connected()


async def follow_random_chain(system: BridgeSystem, feed: UnusualFeed, random: Random) -> NodeHeader:
    """Blocks and reorgs as the feed sends them; the first block."""
    first, *_ = await system.feed_blocks(2)
    feed._seq = system.feed._seq
    for _ in range(STEPS):
        if random.random() < 0.7:
            header = await system.chain.mine(*system.chain.busy_events())
            await feed.send(block_messages(header, await system.chain.updates(header)))
            continue
        fork = await system.chain.snapshot()
        old = [await mined(system) for _ in range(random.randint(1, 3))]
        for block in old:
            await feed.send(block_messages(*block))
        await system.chain.revert(fork)
        new = [await mined(system) for _ in range(random.randint(0, 4))]
        await feed.send(reorg_messages(old, new))
    return first


async def mined(system: BridgeSystem) -> tuple[NodeHeader, Updates]:
    header = await system.chain.mine(*system.chain.busy_events())
    return header, await system.chain.updates(header)


@pytest.fixture
def settings(kafka: str, nats: str, chain_name: str, anvil: Callable[..., str], tmp_path: Path) -> Settings:
    return Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=anvil(),
        exex_socket=tmp_path / "exex.sock",
        partitions=3,
        bridge_silence_s=5,
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("changes", "damages"), [(UNUSUAL, False), ((*UNUSUAL, *LIES), True)], ids=["unusual", "lies"])
async def test_behind_any_feed_the_topic_is_the_chain(
    settings: Settings, seed: int, changes: Sequence[Change], damages: bool
) -> None:
    random = Random(f"{os.environ.get('ARENA_TEST_SEED', '1')}-{seed}")
    async with bridge_system(settings, str(settings.rpc)) as system:
        first = await follow_random_chain(system, UnusualFeed(system, random, changes, damages=damages), random)

        await system.feed_blocks(2)

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []
