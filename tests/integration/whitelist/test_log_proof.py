"""Nodes that do not serve all logs: pruned, lagging or forgetful ones are refused, and nothing they said is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.devnet.chain.contracts import create_v2
from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from streams.node.errors import NodeUnavailable
from tests.support.rpc_proxy import Call, Rule, error, proxied
from tests.support.whitelist.factory_scans import factories, known, scanned, tip
from whitelist.configuration import Factory
from whitelist.pools.factory_events import creation_topic
from whitelist.pools.factory_scan import PoolsMissing
from whitelist.pools.log_proof import LogsPruned
from whitelist.pools.pool_index import open_index

pytestmark = pytest.mark.servers


@pytest.fixture
def world() -> Iterator[World]:
    with servers.anvil() as rpc:
        yield World(rpc, seed=1)


async def test_a_node_without_the_logs_of_a_new_block_is_an_error(world: World, tmp_path: Path) -> None:
    def lagging(call: Call) -> Call | None:
        return {"result": []} if call["method"] == "eth_getLogs" else None

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, lagging) as proxy:
            with pytest.raises(NodeUnavailable, match="but not its logs yet"):
                await scanned(proxy.url, found, factories(world), tip(world))
        assert known(found, world) == set()
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))

        assert known(found, world) == {pool.id for pool in world.pools}


def pruned(world: World, kept_from: int, *, silently: bool) -> Rule:
    """A node without the logs before a block: it answers that there are none, or with error 4444."""
    numbers = {world.chain.rpc.call("eth_getBlockByNumber", hex(n), False)["hash"]: n for n in range(kept_from)}

    def rule(call: Call) -> Call | None:
        if call["method"] != "eth_getLogs":
            return None
        question = call["params"][0]
        first = numbers.get(question["blockHash"], kept_from) if "blockHash" in question else None
        if first is None:
            first = int(question["fromBlock"], 16)
            if silently and first < kept_from <= int(question["toBlock"], 16):
                question["fromBlock"] = hex(kept_from)
                return None
        if first >= kept_from:
            return None
        return {"result": []} if silently else error("pruned history unavailable", 4444)

    return rule


@pytest.mark.parametrize("silently", [True, False])
@pytest.mark.parametrize("kept", [0.5, 1.0])
async def test_a_pruned_node_is_refused(world: World, tmp_path: Path, silently: bool, kept: float) -> None:
    """From some block on, or from one after all pools, its logs are there."""
    world.grow(100)
    kept_from = int(kept * (tip(world).number - 70))

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, pruned(world, kept_from, silently=silently)) as proxy:
            with pytest.raises(LogsPruned, match=r"its history is pruned \(reth --full, Erigon .*, geth --history"):
                await scanned(proxy.url, found, factories(world), tip(world))
        assert known(found, world) == set()
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))

        assert known(found, world) == {pool.id for pool in world.pools}


async def test_a_node_pruned_before_the_factories_is_accepted(world: World, tmp_path: Path) -> None:
    world.grow(100)
    late = create_v2(world.chain, world.contracts, *world.contracts.tokens[2:])
    start = tip(world).number
    world.grow(100)
    factory = Factory(protocol="v2", address=world.contracts.v2_factory, from_block=start)

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, pruned(world, start, silently=True)) as proxy:
            await scanned(proxy.url, found, [factory], tip(world))

        assert {pool.id for pool in found.outside_tokens([], [factory.address], 100)} == {late.id}


async def test_pairs_that_the_node_does_not_serve_are_missed(world: World, tmp_path: Path) -> None:
    """It serves all other logs: only the factory's own count shows it."""
    world.grow(100)
    topic = "0x" + creation_topic("v2").hex()

    def forgetful(call: Call) -> Call | None:
        if call["method"] == "eth_getLogs" and "topics" in call["params"][0]:
            call["params"][0]["topics"] = [[each for each in call["params"][0]["topics"][0] if each != topic]]
        return None

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, forgetful) as proxy:
            with pytest.raises(PoolsMissing, match=r"has 3 pools at block \d+, and the logs from block 0 on have 0"):
                await scanned(proxy.url, found, factories(world), tip(world))
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))

        assert known(found, world) == {pool.id for pool in world.pools}
