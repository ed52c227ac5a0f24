"""The client's mirror through reorgs and restarts of workers: equal to the server's pools, and to the chain."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from pool_state_arena_client.arena import Arena
from pool_state_arena_client.async_arena import AsyncArena
from pool_state_arena_client.records import Pool
from pool_state_arena_client.stream.events import BlockApplied, Reorganised, Snapshot

from lab.devnet.chain.world import World
from tests.support.system_trial import DEEPEST, Trial, running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system"), pytest.mark.timeout(900)]

BLOCKS = 60
REORGS = {8, 17, 29, 41}
KILLED = {20: 0, 45: 1}
"""After so many blocks, which of the workers."""


@pytest.fixture
async def trial(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> AsyncIterator[Trial]:
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=2) as trial:
        trial.share()
        trial.settle()
        yield trial


async def test_mirrors_equal_the_server_and_the_chain_after_reorgs_and_restarts(trial: Trial) -> None:
    first, second = trial.ours.urls
    with Arena(second) as sync_arena, sync_arena.mirror(ticks=True) as sync_mirror:
        async with AsyncArena(first) as arena, arena.mirror(ticks=True) as mirror:
            await mirror.wait_for_block()
            await asyncio.to_thread(disturb, trial)

            tip = trial.world.chain.tip
            await mirror.wait_for_block(tip.number, timeout_s=60)
            await asyncio.to_thread(sync_mirror.wait_for_block, tip.number, 60)
            assert mirror.block.hash == tip.hash
            with sync_mirror.lock:
                assert sync_mirror.block.hash == tip.hash
            await check_equal(arena, mirror, trial.world)
            await check_equal(arena, sync_mirror, trial.world)
    assert trial.differences() == []


async def test_events_of_the_stream_name_each_block_once_and_its_parent(trial: Trial) -> None:
    seen: list[Snapshot | BlockApplied | Reorganised] = []

    async def read() -> None:
        async with AsyncArena(trial.ours.urls[0]) as arena:
            async for event in arena.stream():
                if isinstance(event, Snapshot | BlockApplied | Reorganised):
                    seen.append(event)

    async def until_tip() -> None:
        await asyncio.to_thread(trial.settle)
        async with asyncio.timeout(30):
            while not seen or not (last := seen[-1].envelope.block) or last.hash != trial.world.chain.tip.hash:
                await asyncio.sleep(0.05)

    reading = asyncio.create_task(read())
    await until_tip()
    await asyncio.to_thread(trial.mine, DEEPEST + 2)
    await until_tip()
    await asyncio.to_thread(trial.reorg)
    await asyncio.to_thread(trial.mine, 3)
    await until_tip()
    reading.cancel()

    assert isinstance(seen[0], Snapshot)
    assert any(isinstance(event, Reorganised) for event in seen)
    assert not any(isinstance(event, Snapshot) for event in seen[1:])


def disturb(trial: Trial) -> None:
    names = trial.ours.names[-2:]
    for number in range(BLOCKS):
        trial.mine(1)
        if number in REORGS:
            trial.reorg()
        if number in KILLED:
            name = names[KILLED[number]]
            trial.kill(name)
            shutil.rmtree(trial.ours.settings.data / name)
            trial.mine(2)
            trial.ours.start(name)
            time.sleep(3)
    trial.settle()


async def check_equal(arena: AsyncArena, mirror: Mapping[str, Pool], world: World) -> None:
    ids = [pool.id for pool in world.pools]
    served = await arena.query(ids, at=world.chain.tip.hash, ticks=True)

    assert {pool.id: (pool.status, pool.state, pool.ticks) for pool in mirror.values()} == {
        pool.id: (pool.status, pool.state, pool.ticks) for pool in served.pools
    }
