"""`arena profile` on a real chain, with and without a list."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from commands.throughput import Meter, rates
from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from settings import Settings
from streams.kafka.clients import producing
from streams.kafka.records import Listed, encode_record
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import topics
from streams.node.client import connect
from streams.scraper.batch_size import BatchConfig
from streams.snapshots.sampling import sample
from tests.support.files import ROOT

KINDS = [("filtering", "v2"), ("filtering", "v3"), ("filtering", "v4"), ("full_ticks", "v3"), ("full_ticks", "v4")]

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with servers.anvil() as rpc:
        yield World(rpc, seed=1)


def profiled(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "commands", "profile", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def test_a_sample_is_of_pools_as_they_are(world: World) -> None:
    async with connect(world.chain.rpc.url) as node:
        found = await sample(node, 3)
        everything = await sample(node, 1_000)

    assert {protocol: sum(pool.protocol == protocol for pool in found) for protocol in ("v2", "v3", "v4")} == {
        "v2": 3,
        "v3": 3,
        "v4": 3,
    }
    assert {(pool.id, pool.protocol, pool.tick_spacing) for pool in everything} == {
        (pool.id, pool.protocol, pool.tick_spacing or None) for pool in world.pools
    }


async def test_every_pool_is_read_in_every_phase_and_warm_ups_do_not_count(world: World) -> None:
    config = BatchConfig(v3_full_ticks_batch_size=2)
    pools = [pool.metadata for pool in world.pools]
    async with connect(world.chain.rpc.url) as node:
        meter = Meter(node, Settings(), config)
        timings = [timing async for timing in meter.measure(pools, rounds=2, warm_up=1)]
    found = rates(timings, config)

    assert [(rate.phase, rate.protocol) for rate in found] == KINDS
    assert [rate.batches for rate in found] == [2, 2, 2, 6, 2]
    assert [rate.unread for rate in found] == [0] * 5
    assert all(rate.pools_per_second > 0 for rate in found)
    assert found[3].ticks_per_second > 0 == found[1].ticks_per_second


def test_the_command_finds_pools_by_itself(world: World) -> None:
    shown = profiled("--sample", "2", "--rounds", "2", "--json", ARENA_RPC=world.chain.rpc.url)

    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["budget_s"] == pytest.approx(9.6)
    assert found["pools"] == {"v2": 2, "v3": 2, "v4": 2}
    assert [(rate["phase"], rate["protocol"]) for rate in found["rates"]] == KINDS


def test_the_command_reads_the_list_and_prints_tables(world: World, kafka: str, chain_name: str) -> None:
    environment = {"ARENA_RPC": world.chain.rpc.url, "ARENA_KAFKA": kafka, "ARENA_CHAIN": chain_name}
    settings = Settings(chain=chain_name, kafka=kafka)

    async def list_pools() -> None:
        await ensure_topics(settings)
        async with producing(settings) as producer:
            for pool in world.pools:
                record = encode_record(Listed(pool.metadata, 1))
                await producer.send_and_wait(topics(chain_name).whitelist, key=pool.id.encode(), value=record)

    untold = profiled("--rounds", "1", **environment)
    asyncio.run(ensure_topics(settings))
    empty = profiled("--rounds", "1", **environment)
    asyncio.run(list_pools())
    shown = profiled("--rounds", "1", **environment)

    assert untold.returncode == 1
    assert "--sample finds some" in untold.stderr
    assert "Traceback" not in untold.stderr
    assert empty.returncode == 1
    assert (
        f"there are no pools in the topic {chain_name}.whitelist; --sample finds some in the node's logs"
        in empty.stderr
    )
    assert shown.returncode == 0, shown.stderr
    assert "Filtering phase" in shown.stdout
    assert "0 of 5" in shown.stdout
    assert "batch size" in shown.stdout and "…" not in shown.stdout
    assert "80% of a block of 12 s" in shown.stdout
