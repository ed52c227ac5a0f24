"""The whole system on real Kafka, NATS and a real EVM, through reorgs and killed processes, compared with the chain.

A failing run is repeated by its seed: ARENA_TEST_SEED=… .venv/bin/python -m pytest tests/integration/lab/test_system.py
"""

import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from lab.devnet.reference.consistency import ConsistencyChecker
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers import whitelist_publisher as listing
from tests.support.system_trial import Trial, running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

BLOCKS = 100
REORGS = 5


@pytest.fixture
def verified() -> bool:
    """Whether the bridge reads every block's logs from the node, or believes the feed."""
    return True


@pytest.fixture
async def trial(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, *, tmp_path: Path, workers: int, verified: bool
) -> AsyncIterator[Trial]:
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=workers, verified=verified) as trial:
        yield trial


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
def test_the_other_of_two_workers_takes_over(trial: Trial) -> None:
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
    nats, chain = str(trial.ours.settings.nats), trial.ours.settings.chain

    for listed in (trial.world.pools[::2], trial.world.pools, trial.world.pools[1::2], trial.world.pools):
        await listing.publish(nats, chain, listed)
        for _ in range(6):  # the feed gets the list some blocks after the bridge, and every block has events
            trial.world.mine()
            time.sleep(0.4)
    trial.settle()

    assert trial.differences() == []
