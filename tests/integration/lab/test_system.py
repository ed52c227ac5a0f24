"""The whole system on real Kafka, NATS and a real EVM, through reorgs and killed processes; the chain judges.

A failing run is repeated by its seed: ARENA_TEST_SEED=… .venv/bin/python -m pytest tests/integration/lab/test_system.py
"""

import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.devnet.chain.world import ReorgKind, World
from lab.devnet.reference.comparison import compare_pools
from lab.devnet.reference.consistency import ConsistencyChecker
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers import whitelist_publisher as listing
from lab.devnet.servers.processes import free_port
from lab.devnet.servers.system import System, system
from settings import Settings

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

BLOCKS = 100
REORGS = 5
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


@pytest.fixture
def verified() -> bool:
    """Whether the bridge reads every block's logs from the node, or believes the feed."""
    return True


@pytest.fixture
async def trial(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, *, tmp_path: Path, workers: int, verified: bool
) -> AsyncIterator[Trial]:
    seed = int(os.environ.get("ARENA_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"ARENA_TEST_SEED={seed}")
    rpc = anvil()
    world = World(rpc, seed)
    settings = Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=rpc,
        rpc_ws=rpc.replace("http", "ws", 1),
        exex_socket=tmp_path / "exex.sock",
        data=tmp_path / "data",
        partitions=4,
        web_port=free_port(),
        session_timeout_s=6,
        bridge_verify=verified,
    )
    with ExitStack() as stack:
        ours = stack.enter_context(system(settings, workers, tmp_path))
        for name in ours.names:
            ours.start(name)
        await listing.publish(nats, chain_name, world.pools)
        yield Trial(world, ours, random.Random(seed))


@pytest.fixture
def watch(trial: Trial) -> Iterator[ConsistencyChecker]:
    started = ConsistencyChecker(trial.ours.urls[:1], trial.world)
    started.start()
    yield started
    started.stop()


@pytest.mark.parametrize("workers", [1])
def test_state_equals_the_chain_after_reorgs_kills_and_a_lost_directory(
    trial: Trial, watch: ConsistencyChecker
) -> None:
    worker = trial.ours.names[-1]
    reorgs = set(trial.random.sample(range(10, BLOCKS), REORGS))
    killed = {30: False, 60: False, 80: True}
    trial.settle()

    for number in range(BLOCKS):
        trial.mine(1)
        if number in reorgs:
            trial.reorg()
        if number in killed:
            trial.kill(worker)
            if killed[number]:
                shutil.rmtree(trial.ours.settings.data / worker)
            trial.mine(3)
            trial.ours.start(worker)
    trial.settle()

    assert trial.differences() == []
    watch.stop()
    assert watch.wrong == []
    assert watch.counts["states compared"] > 50


@pytest.mark.parametrize("workers", [2])
def test_the_survivor_of_two_workers_takes_over(trial: Trial) -> None:
    survivor = WorkerClient(trial.ours.urls[0])
    trial.share()
    trial.settle()
    trial.mine(10)

    trial.kill(trial.ours.names[-1])
    trial.mine(5)
    trial.reorg()
    trial.settle(survivor)

    assert trial.differences(survivor) == []


@pytest.mark.parametrize("workers", [1])
def test_every_other_process_can_be_killed(trial: Trial) -> None:
    trial.settle()

    for name in ("exex", "bridge", "scraper"):
        trial.mine(4)
        trial.kill(name)
        trial.mine(4)
        trial.reorg()
        trial.ours.start(name)
        trial.mine(2)
    trial.settle()

    assert trial.differences() == []


@pytest.mark.parametrize(("workers", "verified"), [(1, True), (1, False)])
async def test_events_between_a_pools_listing_and_its_first_forwarded_block_are_not_lost(trial: Trial) -> None:
    trial.settle()
    nats, chain = trial.ours.settings.nats, trial.ours.settings.chain

    for listed in (trial.world.pools[::2], trial.world.pools, trial.world.pools[1::2], trial.world.pools):
        await listing.publish(nats, chain, listed)
        for _ in range(6):  # the feed hears of the list some blocks after the bridge, and every block has events
            trial.world.mine()
            time.sleep(0.4)
    trial.settle()

    assert trial.differences() == []
