"""The whole of protocols/ against a real chain: logs replayed from a pool's birth give the state that is read."""

import asyncio
import threading

import pytest

from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from protocols.decoding import decode_listed
from protocols.dex import PoolState
from protocols.folding import apply, from_snapshot
from protocols.registry import State
from protocols.types import Block, PoolId, PoolMetadata
from protocols.v2 import V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.node.client import Node, connect
from streams.node.state.pinned_state import BlockGone, PinnedState
from streams.node.state.probe import probe_capabilities
from streams.snapshots.pool_reader import read_pools

pytestmark = pytest.mark.servers

BLOCKS = 40
UNBORN: dict[str, State] = {"v2": V2State(0, 0), "v3": V3State(0, 0, 0, ()), "v4": V4State(0, 0, 0, (), 0, 0)}


async def test_logs_replayed_from_birth_give_the_state_that_is_read_at_every_block() -> None:
    with servers.anvil() as url:
        world = World(url, seed=7)
        for _ in range(BLOCKS):
            world.mine()
        pools = {pool.id: pool.metadata for pool in world.pools}
        states = {pool.id: from_snapshot(pool, UNBORN[pool.protocol]) for pool in pools.values()}

        compared = 0
        async with connect(url) as node:
            for number in range(1, world.chain.tip.number + 1):
                block = await _replay(node, number, pools, states)
                if number > world.chain.tip.number - BLOCKS:
                    read = await _read(node, block, pools)
                    assert {pool: (state.price, list(state.ticks)) for pool, state in states.items()} == read
                    compared += 1

    assert compared == BLOCKS
    assert len(pools) == 13


async def test_what_is_read_while_blocks_come_is_of_the_block_it_names() -> None:
    """anvil alone would fail here: it answers for its newest block, by hash too, with what is being mined."""
    with servers.anvil() as url:
        world = World(url, seed=8)
        pools = {pool.id: pool.metadata for pool in world.pools}
        stop = threading.Event()
        mining = threading.Thread(target=_mine, args=(world, stop))
        read: list[tuple[Block, dict[PoolId, object]]] = []
        async with connect(url) as node:
            mining.start()
            try:
                while len(read) < 20:
                    if found := await _read_newest(node, pools):
                        read.append(found)
            finally:
                stop.set()
                await asyncio.to_thread(mining.join)

            for block, states in read:
                assert await _read(node, block, pools) == states


def _mine(world: World, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        world.mine()


async def _read_newest(node: Node, pools: dict[PoolId, PoolMetadata]) -> tuple[Block, dict[PoolId, object]] | None:
    header = await node.header("latest")
    assert header is not None
    block = Block(header.number, header.hash)
    try:
        return block, await _read(node, block, pools)
    except BlockGone:
        return None


async def _replay(node: Node, number: int, pools: dict[PoolId, PoolMetadata], states: dict[PoolId, PoolState]) -> Block:
    header = await node.header(number)
    assert header is not None
    managers = {pool.id: pool.factory for pool in pools.values() if pool.factory}
    listing = {pool.id: pool.protocol for pool in pools.values()}
    for _, decoded in decode_listed(await node.logs(header.hash), listing, managers):
        states[decoded.pool] = apply(states[decoded.pool], [decoded.event])
    return Block(number, header.hash)


async def _read(node: Node, block: Block, pools: dict[PoolId, PoolMetadata]) -> dict[PoolId, object]:
    pinned = PinnedState(node, block, await probe_capabilities(node, block))
    read: dict[PoolId, object] = {}
    for protocol in ("v2", "v3", "v4"):
        of_protocol = [pool for pool in pools.values() if pool.protocol == protocol]
        for pool_id, state in (await read_pools(pinned, of_protocol, {p.id: p.factory for p in of_protocol})).items():
            assert isinstance(state, State)
            found = from_snapshot(pools[pool_id], state)
            read[pool_id] = (found.price, list(found.ticks))
    return read
