"""Programs that read only /stream, against two real workers, a chain that reorganises, and restarts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.chaos.stream_reader import StreamReader
from lab.devnet.reference.worker_client import WorkerClient
from tests.support.system_trial import Trial, running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

SETTLE_S = 60.0


@contextmanager
def reading(*readers: StreamReader) -> Iterator[None]:
    threads = [threading.Thread(target=reader.run, daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for reader in readers:
            reader.stopping.set()
        for thread in threads:
            thread.join(30)


def differences(reader: StreamReader, trial: Trial) -> list[str]:
    """From what every worker serves at the tip, where each pool is compared with the chain."""
    served = {}
    for url in trial.ours.urls:
        answer = WorkerClient(url).get("/pools/?limit=5000")
        if answer is None:
            return [f"{url} does not answer"]
        served = {pool["id"]: pool for pool in answer["pools"]}
        if {pool["block"]["hash"] for pool in answer["pools"]} != {trial.world.chain.tip.hash}:
            return [f"{url} is not at the tip"]
    if reader.block is None or reader.block["hash"] != trial.world.chain.tip.hash:
        return [f"the stream is at {reader.block}, the tip is {trial.world.chain.tip}"]
    envelope = ("chain", "chain_id", "block", "age_s", "finalized")
    states = {id_: {k: v for k, v in pool.items() if k not in envelope} for id_, pool in served.items()}
    folded = reader.pools
    wrong = [f"{pool} is served as {state}" for id_, state in states.items() if (pool := folded.get(id_)) != state]
    return wrong + [f"{id_} is not served" for id_ in folded.keys() - states.keys()]


def settled(reader: StreamReader, trial: Trial) -> list[str]:
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        with reader.lock:
            found = differences(reader, trial)
        if not found or time.monotonic() > deadline_s:
            return found
        time.sleep(0.5)


async def test_folding_the_stream_gives_what_the_workers_serve_through_reorgs_and_restarts(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> None:
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=2) as trial:
        readers = [StreamReader(trial.ours.urls), StreamReader(trial.ours.urls[::-1], "ticks=true")]
        with reading(*readers):
            trial.mine(10)
            trial.settle()
            for name in [name for name in trial.ours.names if name.startswith("worker")]:
                trial.mine(5)
                trial.reorg()
                trial.kill(name)
                trial.mine(3)
                trial.reorg()
                trial.ours.start(name)
                trial.mine(10)
                trial.settle()
            trial.settle()
            wrong = [each for reader in readers for each in settled(reader, trial)]

        assert wrong == []
        assert [reader.wrong for reader in readers] == [[], []]
        assert all(reader.counts["reorg"] and reader.counts["block"] for reader in readers), [r.counts for r in readers]
        assert trial.differences() == []
