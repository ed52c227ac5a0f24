"""`arena up` on real servers: every process runs, is restarted when killed, and ends on SIGTERM."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.devnet.chain.world import World
from lab.devnet.reference.comparison import compare_pools
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers import whitelist_publisher as listing
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.system import environment_of
from settings import Settings

PARTS = ["exex", "bridge", "scraper", "worker"]


def pids(process: Process) -> dict[str, int]:
    """The newest of each part, as `up` logs them."""
    started = re.findall(r"(\w+)(?::\d+)? is started, pid (\d+)", process.log.read_text())
    return {name: int(pid) for name, pid in started}


def settled(world: World, served: WorkerClient, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while served.status()["pools"].get("live") != len(world.pools) or served.heads() != {world.chain.tip.hash}:
        assert time.monotonic() < deadline, served.status()
        if served.status()["pools"].get("live") != len(world.pools):
            world.mine()
        time.sleep(0.3)


@pytest.mark.xdist_group("whole system")
@pytest.mark.servers
async def test_up_serves_the_chains_state_restarts_killed_processes_and_ends_all(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> None:
    world = World(anvil(), seed=5)
    settings = Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=world.chain.rpc.url,
        exex_socket=tmp_path / "exex.sock",
        data=tmp_path / "data",
        partitions=2,
        web_port=free_port(),
        session_timeout_s=2,
    )
    served = WorkerClient(f"http://127.0.0.1:{settings.web_port}")
    await listing.publish(nats, chain_name, world.pools)
    up = Process("up", [sys.executable, "-m", "commands", "up"], tmp_path / "up.log", environment_of(settings))
    try:
        settled(world, served)
        first = pids(up)

        for pid in first.values():
            os.kill(pid, signal.SIGKILL)
            world.mine()
        world.reorg(2)
        deadline = time.monotonic() + 60
        while any(pids(up)[name] == first[name] for name in PARTS):
            assert time.monotonic() < deadline, up.log_tail()
            time.sleep(0.1)
        settled(world, served)

        differing = [
            each
            for verdict in compare_pools(served, world.reference, world.pools, world.chain.tip.hash)
            for each in verdict.differences
        ]
        assert differing == []
        second = pids(up)
        up.signal(signal.SIGTERM)
        assert up.wait(30) == 0
        assert [name for name, pid in second.items() if Path(f"/proc/{pid}").exists()] == []
    finally:
        up.stop()
