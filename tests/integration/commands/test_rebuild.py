"""`arena worker --rebuild`: the table of another application, filled beside the worker that serves."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.bench.made_chain import MadeChain, Shape
from lab.bench.worker_under_test import Bench
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers.processes import free_port
from lab.devnet.servers.system import environment_of
from settings import Settings
from streams.kafka.topic_reader import read_all
from tests.support.files import ROOT

pytestmark = pytest.mark.servers

SHAPE = Shape(pools=30, ticks=20, events=40, touched=15, partitions=4)


async def test_a_rebuilt_table_serves_the_same_and_the_old_one_is_not_touched(
    kafka: str, chain_name: str, tmp_path: Path
) -> None:
    settings = Settings(chain=chain_name, kafka=kafka, data=tmp_path / "data", partitions=4, web_port=free_port())
    chain = MadeChain(SHAPE)
    async with Bench(settings, chain, tmp_path) as bench:
        await bench.fill()
        await bench.publish_chain([record for _ in range(20) for record in chain.block()])
        bench.start()
        await asyncio.to_thread(bench.wait_until_live, SHAPE.pools)
        await asyncio.to_thread(bench.wait_for_head, chain.tip.hash)
        before = served(settings)
        updates = len(await read_all(settings, bench.names.updates))

        killed = rebuild(settings)
        await asyncio.sleep(6)
        killed.send_signal(signal.SIGTERM)
        killed.wait(60)
        done = rebuild(settings)
        out, err = await asyncio.to_thread(done.communicate, None, 120)

        assert done.returncode == 0, err
        assert f"ARENA_APPLICATION={chain_name}-arena-again" in out
        assert served(settings) == before
        assert len(await read_all(settings, bench.names.updates)) == updates

    switched = settings.model_copy(update={"application": f"{chain_name}-arena-again", "web_port": free_port()})
    switched.model_fields_set.add("application")
    async with Bench(switched, chain, tmp_path) as other:
        other.start()
        await asyncio.to_thread(other.wait_until_live, SHAPE.pools)
        assert served(switched) == before


def rebuild(settings: Settings) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "commands", "worker", "--rebuild", f"{settings.chain}-arena-again"],
        cwd=ROOT,
        env={**os.environ, **environment_of(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def served(settings: Settings) -> dict[str, Any]:
    """Every pool's state."""
    answer = WorkerClient(f"http://{settings.web_host}:{settings.web_port}").get("/pools/?limit=1000")
    assert answer is not None
    return {pool["id"]: (pool["status"], pool["state"]) for pool in answer["pools"]}
