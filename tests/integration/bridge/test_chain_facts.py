"""Heads say which blocks the node holds for safe and finalized, and of which chain they are."""

import asyncio
from collections.abc import Callable

import pytest

from settings import Settings
from streams.node.client import connect
from streams.node.errors import NodeUnavailable
from streams.node.state.chain_facts import ASK_EVERY_S, ChainFacts, ChainFactsReader
from tests.support.bridge.bridge_harness import BridgeSystem

pytestmark = pytest.mark.servers


async def test_heads_carry_what_the_node_says_of_the_chain(system: BridgeSystem, settings: Settings) -> None:
    await system.chain.mine_busy(70)
    await system.feed_blocks()
    await asyncio.sleep(2 * ASK_EVERY_S)
    last, *_ = await system.feed_blocks(1)

    async with connect(settings.rpc) as node:
        safe, finalized = [await node.header(tag) for tag in ("safe", "finalized")]

    assert safe is not None
    assert finalized is not None
    assert 0 < finalized.number < safe.number < last.number
    for partition in system.topic.partitions:
        head, _ = partition.blocks[-1]
        assert (head.safe, head.finalized, head.chain_id) == (safe.number - 1, finalized.number - 1, 31337)


async def test_facts_of_an_unreachable_node_stay_as_they_were(anvil: Callable[..., str]) -> None:
    async with connect(anvil()) as node, asyncio.TaskGroup() as group:
        reader = ChainFactsReader(node)
        reading = group.create_task(reader.run())
        async with asyncio.timeout(10):
            while reader.facts == ChainFacts():
                await asyncio.sleep(0.05)
        said = reader.facts

        async def away(*_: object) -> list[object]:
            raise NodeUnavailable("connection refused")

        node.batch = away  # type: ignore[method-assign, assignment]
        reader.ask_soon()
        await asyncio.sleep(2 * ASK_EVERY_S)

        assert not reading.done()
        assert reader.facts == said == ChainFacts(0, 0, 31337)
        reading.cancel()
