"""A bridge on a feed that speaks the seed wire."""

import struct

import pytest

from protocols.concentrated import Swap
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from protocols.v2 import Sync
from settings import Settings
from tests.support.bridge.bridge_harness import bridge_system
from tests.support.bridge.emitting_chain import V2_POOLS, V3_POOLS, Updates

pytestmark = pytest.mark.servers


def wire(number: int, updates: Updates) -> bytes:
    return b"".join(_message(number, pool, e) for pool, events in updates.items() for e in events if pool in V3_POOLS)


def _message(number: int, pool: PoolId, event: object) -> bytes:
    place = struct.pack("<Q20sQ", 20, bytes.fromhex(pool[2:]), number)
    match event:
        case Swap(price, liquidity, tick):
            values = struct.pack("<Q32si16s", 32, price.to_bytes(32, "big"), tick, liquidity.to_bytes(16, "little"))
            return struct.pack("<I", 2) + place + values
        case LiquidityChange(lower, upper, delta):
            values = struct.pack("<ii16s", lower, upper, abs(delta).to_bytes(16, "little"))
            return struct.pack("<I", 0 if delta > 0 else 1) + place + values
    raise ValueError(event)


def wire_reorg(number: int) -> bytes:
    return struct.pack("<IQQ32s", 3, number, 32, b"\x11" * 32)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"exex_wire": "seed", "bridge_silence_s": 1})


async def test_over_the_seed_wire_the_topic_is_the_chain(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with bridge_system(settings, str(settings.rpc)) as system:
        await system.feed.until_connected()
        first = await system.chain.mine(*system.chain.busy_events())
        await system.feed.write(wire(first.number, await system.chain.updates(first)))
        await system.topic.until_head(first)
        fork = await system.chain.snapshot()
        old = await system.chain.mine_busy(3)
        for header in old:
            await system.feed.write(wire(header.number, await system.chain.updates(header)))
        await system.topic.until_head(old[-1])
        await system.chain.revert(fork)
        for header in reversed(old):
            await system.feed.write(wire_reorg(header.number))
        new = await system.chain.mine_busy(4)
        for header in new:
            await system.feed.write(wire(header.number, await system.chain.updates(header)))
        await system.topic.until_head(new[-1])
        quiet = await system.chain.mine((V2_POOLS[0], Sync(7, 7)))

        await system.topic.until_head(quiet)

        await system.assert_topic_is_chain(first.number)
        assert system.topic.gaps == []
        assert system.topic.reorgs == [first.number]
        assert "feed and node differ" not in caplog.text
