"""The client as users get it: built as a wheel, and installed into an environment that has nothing else."""

import asyncio
import shutil
import subprocess
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.files import ROOT
from tests.support.web_cluster import POOLS, Cluster

PROGRAM = f"""
import importlib.metadata, pathlib, sys
import pool_state_arena_client as client
assert "site-packages" in client.__file__
names = {{each.metadata["Name"].lower() for each in importlib.metadata.distributions()}}
assert not names & {{"aiohttp", "faust-streaming", "pyarrow", "web3"}}, names
with client.Arena(sys.argv[1]) as arena:
    pool = arena.pool("{POOLS[0]}")
print(pool.state.reserve1)
"""


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    yield started
    await started.stop()


def uv(*arguments: str | Path) -> None:
    found = shutil.which("uv") or ROOT / ".stack" / "uv" / "bin" / "uv"
    run = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, cwd=ROOT / "client")
    assert run.returncode == 0, run.stderr


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    uv("build", "--wheel", "--out-dir", tmp_path / "dist", ROOT / "client")
    (built,) = (tmp_path / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_the_package_alone_and_its_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "pool_state_arena_client/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pool_state_arena_client"}


async def test_it_works_in_a_clean_environment(cluster: Cluster, wheel: Path, tmp_path: Path) -> None:
    uv("venv", tmp_path / "venv")
    uv("pip", "install", "--python", tmp_path / "venv", wheel)

    program = await asyncio.create_subprocess_exec(
        *(tmp_path / "venv" / "bin" / "python", "-c", PROGRAM, cluster.owners[0].url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    output, errors = await program.communicate()

    assert output.decode().strip() == str(2**101), errors.decode()
