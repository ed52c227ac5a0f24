"""The client's queries, sync and async, against two workers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import TypeVar

import msgspec
import pytest
from pool_state_arena_client.arena import Arena
from pool_state_arena_client.async_arena import AsyncArena
from pool_state_arena_client.errors import ArenaError, NotFound, NotNow, Refused, Unreachable
from pool_state_arena_client.records import BlockId, Concentrated, Reserves, Tick

from tests.support.web_cluster import CHAIN_ID, NATIVE, NEVER_READ, POOLS, USDC, V4, Cluster, block

T = TypeVar("T")
UNISWAP_V2 = "0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster("a token")
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def arena(cluster: Cluster) -> AsyncIterator[AsyncArena]:
    async with AsyncArena(cluster.owners[0].url, token=cluster.token) as arena:
        yield arena


async def in_thread(cluster: Cluster, ask: Callable[[Arena], T]) -> T:
    def run() -> T:
        with Arena(cluster.owners[0].url, token=cluster.token) as arena:
            return ask(arena)

    return await asyncio.to_thread(run)


async def test_a_pool_has_exact_integers_and_its_block(cluster: Cluster, arena: AsyncArena) -> None:
    pool = await arena.pool(POOLS[0])

    assert pool.is_live
    assert pool.state == Reserves(3, 2**101)
    assert pool.reference_block == BlockId(1, block(1).hash)
    assert pool.price.token1_per_token0 == Decimal("845100400152152934331135470250666667000000")
    assert pool.envelope is not None
    assert pool.envelope.block is not None
    assert (pool.envelope.chain_id, pool.envelope.block.id) == (CHAIN_ID, BlockId(3, block(3).hash))
    assert (await in_thread(cluster, lambda sync: sync.pool(POOLS[0]))).state == pool.state


async def test_a_waiting_pool_says_why(arena: AsyncArena) -> None:
    pool = await arena.pool(NEVER_READ)

    assert (pool.is_live, pool.state, pool.reason and pool.reason.kind) == (False, None, "listed")


async def test_ticks_are_as_of_the_block_that_is_asked_for(cluster: Cluster, arena: AsyncArena) -> None:
    before = (Tick(-10, 5, 5), Tick(10, 5, -5))

    assert await arena.ticks(V4, at=2) == before
    assert await arena.ticks(V4, at=block(2).hash) == before
    assert await arena.ticks(NEVER_READ) is None
    assert await in_thread(cluster, lambda sync: sync.ticks(V4, at=2)) == before


async def test_all_pools_come_whatever_the_size_of_a_page(
    cluster: Cluster, arena: AsyncArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pool_state_arena_client.async_arena.PAGE", 4)
    monkeypatch.setattr("pool_state_arena_client.arena.PAGE", 4)

    found = [pool.id async for pool in arena.pools()]
    v4 = [pool.id async for pool in arena.pools(protocol="v4", status="live", tokens=[USDC.address])]

    assert found == sorted([*POOLS, V4])
    assert v4 == [V4]
    assert await in_thread(cluster, lambda sync: [pool.id for pool in sync.pools()]) == found


async def test_a_query_is_of_one_block(cluster: Cluster, arena: AsyncArena) -> None:
    nobody = f"0x{'ee' * 20}"
    ids = [V4, *POOLS, nobody]

    found = await arena.query(ids, at=2, ticks=True)

    assert found.envelope.block is not None
    assert found.envelope.block.number == 2
    assert [pool.id for pool in found.pools] == ids[:-1]
    assert found.unknown == (nobody,)
    assert isinstance(found[V4].state, Concentrated)
    assert found[V4].ticks == (Tick(-10, 5, 5), Tick(10, 5, -5))
    again = await in_thread(cluster, lambda sync: sync.query(ids, at=2, ticks=True))
    assert again.pools == found.pools


async def test_a_quote_and_the_depth_are_exact(cluster: Cluster, arena: AsyncArena) -> None:
    for processor in cluster.processors:
        for partition in processor.partitions.values():
            for pool_id, pool in partition.pools.items():
                metadata = msgspec.structs.replace(pool.listed.pool, factory=UNISWAP_V2)
                listed = msgspec.structs.replace(pool.listed, pool=metadata)
                partition.pools[pool_id] = msgspec.structs.replace(pool, listed=listed)

    quote = await arena.quote(POOLS[0], token_in=NATIVE.address, amount_in=1000)

    paid = 1000 * 997
    assert (quote.pool, quote.token_out) == (POOLS[0], USDC.address)
    assert (quote.amount_in, quote.amount_out) == (1000, 2**101 * paid // (3 * 1000 + paid))
    again = await in_thread(cluster, lambda sync: sync.quote(POOLS[0], token_in=NATIVE.address, amount_in=1000))
    assert again.amount_out == quote.amount_out
    depth = await arena.depth(POOLS[0], points=3)
    assert [point.amount_in for point in depth.token0_in] == sorted(point.amount_in for point in depth.token0_in)
    assert depth.token0_in[0].amount_out > 0
    assert (await in_thread(cluster, lambda sync: sync.depth(POOLS[0], points=3))).token0_in == depth.token0_in
    with pytest.raises(ArenaError, match="amount_in or for amount_out"):
        await arena.quote(V4, token_in=NATIVE.address)


async def test_the_status_names_every_partition(cluster: Cluster, arena: AsyncArena) -> None:
    status = await arena.status()

    assert [row.partition for row in status.partitions] == [0, 1, 2, 3]
    assert (status.pools.live, status.pools.waiting, status.head) == (20, 1, 3)
    assert (await in_thread(cluster, lambda sync: sync.status())).head == 3


async def test_errors_carry_the_facts(cluster: Cluster, arena: AsyncArena) -> None:
    with pytest.raises(NotFound, match="in memory are blocks 1 to 3") as missing:
        await arena.pool(POOLS[0], at=9)
    with pytest.raises(NotNow, match="at most 5 s are asked for") as old:
        await arena.pool(POOLS[0], max_age_s=5)
    with pytest.raises(Refused, match="is not a block"):
        await arena.pool(POOLS[0], at="pending")
    with pytest.raises(ArenaError, match="1 to 1000 pools"):
        await arena.query([])
    with pytest.raises(Refused, match="asks for a token"):
        async with AsyncArena(cluster.owners[0].url) as without_token:
            await without_token.status()

    assert (missing.value.first, missing.value.last) == (1, 3)
    assert old.value.age_s is not None


async def test_a_server_that_is_away_is_named() -> None:
    async with AsyncArena("http://127.0.0.1:9") as arena:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
            await arena.status()
