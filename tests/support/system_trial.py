"""The whole system on a chain of its own, for tests that mine, reorganise and compare."""

import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from lab.devnet.chain.world import ReorgKind, World
from lab.devnet.reference.comparison import compare_pools
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers import whitelist_publisher as listing
from lab.devnet.servers.processes import free_port
from lab.devnet.servers.system import System, system
from settings import Settings

DEEPEST = 10
SETTLE_S = 120.0


class Trial:
    """A world, the system that follows it, and a watch that holds every answer against the chain."""

    def __init__(self, world: World, ours: System, random_: random.Random) -> None:
        self.world = world
        self.ours = ours
        self.random = random_
        self.served = WorkerClient(ours.urls[0])

    def mine(self, blocks: int) -> None:
        for _ in range(blocks):
            self.world.mine()
            time.sleep(self.random.choice((0.0, 0.05, 0.2)))

    def reorg(self) -> None:
        kind: ReorgKind = self.random.choice(("rewound", "replaced"))
        self.world.reorg(self.random.randint(1, DEEPEST), kind=kind, longer_by=self.random.randint(0, 2))

    def settle(self, served: WorkerClient | None = None) -> None:
        """Until every pool is live and every partition is at the chain's head; blocks come as long as pools wait."""
        deadline = time.monotonic() + SETTLE_S
        served = served or self.served
        while True:
            status = served.status()
            live = status["pools"].get("live", 0)
            if live == len(self.world.pools) and served.heads() == {self.world.chain.tip.hash}:
                return
            assert time.monotonic() < deadline, f"not settled: {status}"
            if live < len(self.world.pools):
                self.world.mine()
            time.sleep(0.25)

    def share(self) -> None:
        """Until every worker owns partitions."""
        deadline = time.monotonic() + SETTLE_S
        while {row["worker"] for row in self.served.status()["partitions"]} != set(self.ours.urls):
            assert time.monotonic() < deadline, f"not shared: {self.served.status()}"
            time.sleep(0.25)

    def differences(self, served: WorkerClient | None = None) -> list[str]:
        found = compare_pools(served or self.served, self.world.reference, self.world.pools, self.world.chain.tip.hash)
        return [f"{verdict.pool.id}: {each}" for verdict in found for each in verdict.differences]

    def kill(self, name: str) -> None:
        self.ours.processes[name].signal(signal.SIGKILL)
        self.ours.processes[name].wait(10)


@asynccontextmanager
async def running_trial(
    kafka: str,
    nats: str,
    rpc: str,
    chain_name: str,
    directory: Path,
    *,
    workers: int,
    verified: bool = True,
    web_token: str | None = None,
) -> AsyncIterator[Trial]:
    """A failing run is repeated by its seed: ARENA_TEST_SEED=…"""
    seed = int(os.environ.get("ARENA_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"ARENA_TEST_SEED={seed}")
    world = World(rpc, seed)
    settings = Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=rpc,
        rpc_ws=rpc.replace("http", "ws", 1),
        exex_socket=directory / "exex.sock",
        data=directory / "data",
        partitions=4,
        web_port=free_port(),
        session_timeout_s=6,
        bridge_verify=verified,
        web_token=SecretStr(web_token) if web_token else None,
    )
    with ExitStack() as stack:
        ours = stack.enter_context(system(settings, workers, directory))
        for name in ours.names:
            ours.start(name)
        await listing.publish(nats, chain_name, world.pools)
        yield Trial(world, ours, random.Random(seed))
