"""The client's notebooks, executed from top to bottom against a running system."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.files import ROOT
from tests.support.system_trial import DEEPEST, Trial, running_trial

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system"), pytest.mark.timeout(900)]

NOTEBOOKS = ROOT / "client" / "notebooks"


@pytest.fixture
async def trial(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> AsyncIterator[Trial]:
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=1) as trial:
        trial.settle()
        yield trial


async def test_both_notebooks_run(trial: Trial, tmp_path: Path) -> None:
    depth = await started("depth.py", trial, tmp_path)
    await finished(depth)

    reorg = await started("reorg.py", trial, tmp_path)
    for _ in range(4):
        if reorg.returncode is not None:
            break
        await asyncio.to_thread(trial.mine, DEEPEST + 2)
        await asyncio.to_thread(trial.settle)
        await asyncio.to_thread(trial.reorg)
        await asyncio.to_thread(trial.mine, 3)
    await finished(reorg)


async def started(name: str, trial: Trial, directory: Path) -> asyncio.subprocess.Process:
    path = os.pathsep.join((str(ROOT / "client" / "src"), os.environ.get("PYTHONPATH", "")))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, NOTEBOOKS / name),
        env=os.environ | {"ARENA_URL": trial.ours.urls[0], "ARENA_EVENTS": "200", "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
    )


async def finished(notebook: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(120):
        output, _ = await notebook.communicate()
    assert notebook.returncode == 0, output.decode()
