"""The factory scan on a real chain: ranges within the node's limits, each block once, reorgs undone."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from lab.devnet.chain.contracts import create_v2
from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from protocols.types import Block, PoolId
from streams.node import provider
from streams.node.errors import NodeUnavailable
from streams.node.log_ranges import LogsRefused, RangeWidth
from streams.node.state.pinned_state import BlockGone
from tests.support.rpc_proxy import Call, error, proxied
from tests.support.whitelist.factory_scans import factories, known, scanned, tip
from whitelist.configuration import Factory
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.log_proof import UNSETTLED_BLOCKS
from whitelist.pools.pool_index import PoolIndexUnreadable, open_index

pytestmark = pytest.mark.servers


@pytest.fixture
def world() -> Iterator[World]:
    with servers.anvil() as rpc:
        yield World(rpc, seed=1)


async def test_every_pool_is_found_with_its_metadata(world: World, tmp_path: Path) -> None:
    with open_index(tmp_path / "pools.sqlite") as found:
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))

        for pool in world.pools:
            stored = found.pool(pool.id)
            assert stored is not None
            assert (stored.protocol, stored.factory, stored.token0, stored.token1) == (
                *(pool.protocol, pool.factory, pool.token0, pool.token1),
            )
            assert (stored.fee, stored.tick_spacing, stored.hooks) == (pool.fee, pool.tick_spacing or None, pool.hooks)
        assert known(found, world) == {pool.id for pool in world.pools}


async def test_a_node_with_a_block_range_limit_gives_the_same_pools(world: World, tmp_path: Path) -> None:
    asked: list[int] = []

    def few(call: Call) -> Call | None:
        if call["method"] != "eth_getLogs" or "blockHash" in call["params"][0]:
            return None
        blocks = int(call["params"][0]["toBlock"], 16) - int(call["params"][0]["fromBlock"], 16) + 1
        asked.append(blocks)
        return error("query exceeds max block range 3") if blocks > 3 else None

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, few) as proxy:
            width = await scanned(proxy.url, found, factories(world), tip(world), width=64)

        assert known(found, world) == {pool.id for pool in world.pools}
    assert width.was_refused
    assert max(asked) > 3


async def test_scanned_blocks_are_not_requested_again(world: World, tmp_path: Path) -> None:
    firsts: list[int] = []

    def noted(call: Call) -> Call | None:
        if call["method"] == "eth_getLogs" and "fromBlock" in call["params"][0]:
            firsts.append(int(call["params"][0]["fromBlock"], 16))
        return None

    with open_index(tmp_path / "pools.sqlite") as found:
        world.grow(100)
        await scanned(world.chain.rpc.url, found, factories(world), before := tip(world))
        t2, t3 = world.contracts.tokens[2:]
        late = create_v2(world.chain, world.contracts, t2, t3)
        async with proxied(world.chain.rpc.url, noted) as proxy:
            await scanned(proxy.url, found, factories(world), tip(world))

        assert found.pool(late.id) is not None
    assert set(firsts) == {before.number + 1 - UNSETTLED_BLOCKS}


async def test_logs_that_a_node_indexes_late_are_found_later(world: World, tmp_path: Path) -> None:
    late = create_v2(world.chain, world.contracts, *world.contracts.tokens[2:])
    served = tip(world).number - 1

    def lagging(call: Call) -> Call | None:
        """The node has its newest block, and not its logs."""
        if call["method"] == "eth_getLogs" and "toBlock" in call["params"][0]:
            last = int(call["params"][0]["toBlock"], 16)
            call["params"][0]["toBlock"] = hex(min(last, served))
        return None

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, lagging) as proxy:
            await scanned(proxy.url, found, factories(world), tip(world))
        assert known(found, world) == {pool.id for pool in world.pools}
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))

        assert known(found, world) == {pool.id for pool in world.pools} | {late.id}


async def test_all_factories_are_scanned_with_one_filter(world: World, tmp_path: Path) -> None:
    """So that each block is searched once, as for one factory; ranges get wider while several are under way."""
    world.grow(200)
    searched: list[list[int]] = []

    def counted(call: Call) -> Call | None:
        if call["method"] == "eth_getLogs" and "fromBlock" in call["params"][0]:
            first, last = (int(call["params"][0][end], 16) for end in ("fromBlock", "toBlock"))
            searched[-1] += range(first, last + 1)
        return None

    for number, kinds in enumerate((factories(world)[:1], factories(world))):
        searched.append([])
        with open_index(tmp_path / f"{number}.sqlite") as found:
            async with proxied(world.chain.rpc.url, counted) as proxy:
                await scanned(proxy.url, found, kinds, tip(world), width=10)

    assert sorted(searched[0]) == sorted(searched[1]) == list(range(tip(world).number + 1))


async def test_pools_of_orphaned_blocks_are_dropped(world: World, tmp_path: Path) -> None:
    with open_index(tmp_path / "pools.sqlite") as found:
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))
        world.grow(3)
        late = create_v2(world.chain, world.contracts, *world.contracts.tokens[2:])
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))
        assert found.pool(late.id) is not None

        world.chain.rewind(2)
        world.grow(6)
        await scanned(world.chain.rpc.url, found, factories(world), tip(world))

        assert found.pool(late.id) is None
        assert known(found, world) == {pool.id for pool in world.pools}


async def test_a_head_that_a_reorg_replaces_during_the_scan_is_an_error(world: World, tmp_path: Path) -> None:
    head = tip(world)
    world.chain.rewind(1)
    world.grow(3)

    with open_index(tmp_path / "pools.sqlite") as found, pytest.raises(BlockGone, match=head.hash):
        await scanned(world.chain.rpc.url, found, factories(world), head)


async def test_a_factory_with_another_protocol_or_start_is_scanned_again(world: World, tmp_path: Path) -> None:
    """As V3 the V2 factory creates nothing; and from a later block on it has created less."""
    address = world.contracts.v2_factory
    late = create_v2(world.chain, world.contracts, *world.contracts.tokens[2:])
    everything = {pool.id for pool in world.pools if pool.protocol == "v2"} | {late.id}
    with open_index(tmp_path / "pools.sqlite") as found:
        for kind, ids in (
            (Factory(protocol="v2", address=address, from_block=tip(world).number), {late.id}),
            (Factory(protocol="v2", address=address), everything),
            (Factory(protocol="v3", address=address), set()),
            (Factory(protocol="v2", address=address), everything),
        ):
            await scanned(world.chain.rpc.url, found, [kind], tip(world))
            assert {pool.id for pool in found.outside_tokens([], [address], 100)} == ids


async def test_a_rate_limited_request_is_retried(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "ATTEMPTS", 2)
    monkeypatch.setattr(provider, "WAIT_INITIAL_S", 0.01)
    times = 0

    def busy(call: Call) -> Call | None:
        nonlocal times
        times += call["method"] == "eth_getLogs"
        return error("rate limit exceeded, try later") if call["method"] == "eth_getLogs" and times % 2 else None

    def always_busy(call: Call) -> Call | None:
        return error("Too Many Requests", 429) if call["method"] == "eth_getLogs" else None

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, busy) as proxy:
            await scanned(proxy.url, found, factories(world)[:1], tip(world))
        assert found.count([world.contracts.v2_factory]) == 3
        async with proxied(world.chain.rpc.url, always_busy) as proxy:
            with pytest.raises(NodeUnavailable, match="Too Many Requests, 2 times in a row"):
                await scanned(proxy.url, found, factories(world), tip(world))


async def test_a_node_that_limits_every_request_is_retried(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP 429 to whatever is asked, as who sells access to nodes answers."""
    monkeypatch.setattr(provider, "WAIT_INITIAL_S", 0.01)
    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url) as proxy:
            proxy.status = 429
            scanning = asyncio.create_task(scanned(proxy.url, found, factories(world), tip(world)))
            await asyncio.sleep(0.1)
            assert not scanning.done()
            proxy.status = 200
            await scanning

        assert known(found, world) == {pool.id for pool in world.pools}


async def test_a_node_that_refuses_all_logs_is_reported(world: World, tmp_path: Path) -> None:
    def none(call: Call) -> Call | None:
        return error("the method eth_getLogs is disabled") if call["method"] == "eth_getLogs" else None

    with open_index(tmp_path / "pools.sqlite") as found:
        async with proxied(world.chain.rpc.url, none) as proxy:
            with pytest.raises(LogsRefused, match=r"the node refuses the logs of block 0: .* is disabled"):
                await scanned(proxy.url, found, factories(world), tip(world), width=4)


def test_the_width_grows_until_it_is_refused_and_shrinks_for_many_logs() -> None:
    width = RangeWidth(100)
    width.on_success(100, 1)
    assert width.blocks == 200
    width.on_refusal(200)
    assert (width.blocks, width.was_refused) == (100, True)
    width.on_success(100, 1)
    assert width.blocks == 126
    width.on_success(126, 10_000)
    assert width.blocks == 63
    assert msgspec.structs.astuple(RangeWidth(1)) == (1, False)


async def test_a_factory_without_pools_is_reported(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Factory(protocol="v3", address=world.contracts.v2_factory, from_block=3)

    with open_index(tmp_path / "pools.sqlite") as found:
        await scanned(world.chain.rpc.url, found, [*factories(world)[1:], wrong], head := tip(world))

    assert caplog.messages == [
        f"{wrong.address} created no v3 pool in blocks 3 to {head.number}: "
        "is it a factory of that protocol, on this chain?"
    ]


def test_a_scan_that_was_never_proven_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As version 0.1.0 left it: its checkpoints may stand for the empty answers of a pruned node."""
    path, factory = tmp_path / "pools.sqlite", "0x" + "fa" * 20
    pool = DiscoveredPool(PoolId("0x" + "11" * 20), "v2", factory, "0x" + "0a" * 20, "0x" + "0b" * 20)
    end = Block(9, "0x" + "09" * 32)
    with open_index(path) as index:
        index.add_range(factory, [(5, pool)], end)
    with open_index(path) as index:
        assert (index.checkpoints(factory), index.count([factory])) == ([end], 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")

    with open_index(path) as index:
        assert (index.checkpoints(factory), index.count([factory])) == ([], 0)
    with open_index(path):
        pass

    assert caplog.messages == [f"{path}: scanned without proof by an earlier version; the factories are scanned again"]


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "pools.sqlite"
    path.write_bytes(b"rubbish" * 1000)

    refused = r"pools\.sqlite: file is not a database; move it away, and the factories are scanned again"
    with pytest.raises(PoolIndexUnreadable, match=refused), open_index(path):
        pass
