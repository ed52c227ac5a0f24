"""The recipes of docs/replay.md, run as they stand there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from lab.devnet.servers.system import environment_of
from tests.support.files import ROOT
from tests.support.system_trial import running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

PAGE = (ROOT / "docs" / "replay.md").read_text()


def recipes(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_recipes_work_as_they_are_written(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> None:
    directory = tmp_path / "here"
    directory.mkdir()
    (directory / "arena").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m commands "$@"\n')
    (directory / "arena").chmod(0o755)
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=1) as trial:
        trial.settle()
        first = trial.world.chain.tip.number
        trial.mine(25)
        trial.settle()
        last = trial.world.chain.tip.number
        numbers = {"BLOCK": str(last - 5), "FIRST": str(first), "LAST": str(last)}
        environment = {**os.environ, **environment_of(trial.ours.settings), **numbers, "PYTHONPATH": str(ROOT)}

        for recipe in recipes("sh"):
            done = subprocess.run(
                ["sh", "-euc", recipe], cwd=directory, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{recipe}\n{done.stderr}"
        (query,), (script,) = recipes("sql"), recipes("python")
        printed = subprocess.run(
            [sys.executable, "-c", script], cwd=directory, capture_output=True, text=True, check=False
        )

    assert printed.returncode == 0, printed.stderr
    assert "swap" in printed.stdout
    assert (directory / "liquidity.svg").read_text().startswith("<svg")
    states = [json.loads(line) for line in (directory / "state.jsonl").read_text().splitlines()]
    past = [json.loads(line) for line in (directory / "past.jsonl").read_text().splitlines()]
    assert states[-1]["block"]["number"] == last - 5
    assert json.loads((directory / "verified.json").read_text())["differences"] == 0
    held = {line["id"]: line["state"] for line in past[:-1]}
    newest = duckdb.execute(query.replace("'history/", f"'{directory}/history/")).fetchall()
    assert len(newest) > 5
    assert all(held[pool]["sqrt_price_x96"] == price for pool, _, price in newest)
