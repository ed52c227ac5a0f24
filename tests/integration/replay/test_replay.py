"""`arena replay` over real topics of a real chain with reorgs: every pool at every block asked for equals the chain."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest

from lab.devnet.reference.reader import field_differences, tick_differences
from lab.devnet.servers.system import environment_of
from tests.support.files import ROOT
from tests.support.system_trial import Trial, running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

BLOCKS = 60


@pytest.fixture
async def trial(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> AsyncIterator[Trial]:
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=1) as trial:
        trial.settle()
        for _ in range(BLOCKS // 10):
            trial.mine(10)
            trial.reorg()
        trial.settle()
        yield trial


def replay(trial: Trial, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "commands", "replay", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment_of(trial.ours.settings)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines(trial: Trial, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    done = replay(trial, "--out", "-", "--format", "jsonl", *arguments)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return found[:-1], found[-1]


def differences(trial: Trial, found: list[dict[str, Any]], block_hash: str) -> list[str]:
    by_id = {line["id"]: line for line in found}
    wrong = []
    for pool in trial.world.pools:
        line = by_id[pool.id]
        truth = trial.world.reference.truth(pool, block_hash)
        assert line["status"] == "live", line
        wrong += field_differences(line["state"], truth)
        if pool.protocol != "v2":
            wrong += tick_differences(line["ticks"], truth)
    return wrong


def test_a_replay_equals_the_chain_at_any_block_and_the_tables_at_the_head(trial: Trial, tmp_path: Path) -> None:
    tip = trial.world.chain.tip
    numbers = sorted(trial.random.sample(range(tip.number - 30, tip.number), 3))

    whole, last = lines(trial)
    again, last_again = lines(trial, "--until", str(tip.number))
    verified = replay(trial, "--verify", "--json")

    assert last["block"] == {"number": tip.number, "hash": tip.hash}
    assert differences(trial, whole, tip.hash) == []
    assert ([line["digest"] for line in again], last_again) == ([line["digest"] for line in whole], last)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["differences"] == 0
    assert json.loads(verified.stdout)["digest"] == last["digest"]
    for number in numbers:
        block = trial.world.chain.rpc.call("eth_getBlockByNumber", hex(number), False)
        found, end = lines(trial, "--until", str(number))
        assert end["block"] == {"number": number, "hash": block["hash"]}
        assert differences(trial, found, block["hash"]) == []
    some, _ = lines(trial, "--pools", trial.world.pools[0].id)
    assert [line["digest"] for line in some] == [
        line["digest"] for line in whole if line["id"] == trial.world.pools[0].id
    ]
    beyond = replay(trial, "--until", str(tip.number + 1000))
    assert beyond.returncode == 1
    assert f"block {tip.number + 1000} is not among them" in beyond.stderr
    assert after_kill(trial) == last
    _check_parquet(trial, tmp_path, whole, last)


def after_kill(trial: Trial) -> dict[str, Any]:
    """The last line of a replay that follows at once on one that was killed on its way."""
    command = [sys.executable, "-m", "commands", "replay", "--out", "-"]
    environment = {**os.environ, **environment_of(trial.ours.settings)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as killed:
        time.sleep(trial.random.uniform(1.0, 4.0))
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    return lines(trial)[1]


def _check_parquet(trial: Trial, directory: Path, whole: list[dict[str, Any]], last: dict[str, Any]) -> None:
    tip = trial.world.chain.tip.number
    first = tip - 20
    out = directory / "out"

    written = replay(trial, "--from", str(first), "--out", str(out), "--json")
    refused = replay(trial, "--from", str(first), "--out", str(out))
    replaced = replay(trial, "--from", str(first), "--out", str(out), "--overwrite", "--hex")

    assert written.returncode == 0, written.stderr
    assert refused.returncode == 1
    assert "exists; --overwrite replaces it" in refused.stderr
    assert replaced.returncode == 0, replaced.stderr
    chain = trial.ours.settings.chain
    names = {
        f"{chain}__{each}__{first}_to_{tip}.parquet" for each in ("pool_states", "pool_ticks", "pool_events", "pools")
    }
    assert {path.name for path in out.iterdir()} == names
    states = out / f"{chain}__pool_states__{first}_to_{tip}.parquet"
    query = (
        "select pool, max_by(sqrt_price_x96_string, block_number), max_by(reserve0_string, block_number) "
        f"from '{states}' group by pool"
    )
    newest = duckdb.execute(query).fetchall()
    held = {line["id"]: line["state"] for line in whole}
    assert newest
    for pool, price, reserve0 in newest:
        assert held[pool].get("sqrt_price_x96") == price
        assert held[pool].get("reserve0") == reserve0
    frame = polars.read_parquet(states)
    assert frame["block_number"].is_sorted()
    assert frame["block_number"].min() >= first  # type: ignore[operator]  # there are rows
    metadata = polars.read_parquet_metadata(states)
    assert metadata["digest"] == last["digest"]
    events = polars.read_parquet(out / f"{chain}__pool_events__{first}_to_{tip}.parquet")
    assert set(events["event"].unique()) >= {"swap", "sync"}
