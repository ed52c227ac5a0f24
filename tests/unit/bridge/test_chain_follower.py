"""The chain follower on a node that refuses requests; the retry policy's delays are switched off."""

import asyncio
from random import Random

import stamina

from lab.fuzz.chain_model import World
from lab.fuzz.wire import check
from lab.fuzz.world import Topic, WorldNode, follower, random_world
from streams.node.blocks import NodeHeader
from streams.node.errors import RpcError


class RefusingNode(WorldNode):
    """Refuses the first requests, for whatever block."""

    def __init__(self, world: World, refusals: int) -> None:
        super().__init__(world)
        self._refusals = refusals

    async def header(self, at: int | str) -> NodeHeader | None:
        self._refusals -= 1
        if self._refusals >= 0:
            raise RpcError(-32000, "unauthorized")
        return await super().header(at)


async def test_a_node_that_refuses_its_head_too_is_asked_again_by_the_retry_policy() -> None:
    world = random_world(Random(1))
    topic = Topic()
    following, _ = follower(world, RefusingNode(world, refusals=40), topic)

    with stamina.set_testing(True, attempts=1_000):
        async with asyncio.timeout(1.0):
            await following.catch_up(world.tip.block.number)

    check(world, topic, gaps=False)
