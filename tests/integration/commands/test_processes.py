"""The command line as people use it: real processes, what they say and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from lab.devnet.servers.processes import Process, free_port
from tests.support.files import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "commands", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_config_shows_the_effective_values_and_no_secret() -> None:
    result = run("config", "--json", ARENA_CHAIN="base", ARENA_KAFKA_PASSWORD="hush")

    assert result.returncode == 0
    assert json.loads(result.stdout)["ARENA_CHAIN"] == "base"
    assert json.loads(result.stdout)["ARENA_KAFKA_PASSWORD"] == "********"
    assert "hush" not in result.stdout + result.stderr


def test_an_invalid_setting_is_reported_in_one_line() -> None:
    result = run("config", ARENA_PARTITIONS="many")

    assert result.returncode != 0
    assert result.stderr.startswith("arena: ARENA_PARTITIONS: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["status"], ["pools"], ["pool", "0x" + "00" * 20]])
def test_a_worker_that_is_not_running_is_reported_in_one_line(command: list[str]) -> None:
    port = str(free_port())

    result = run(*command, ARENA_WEB_PORT=port)

    assert result.returncode != 0
    assert f"no worker answers at 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["bridge", "scraper"])
def test_kafka_down_at_start_ends_the_process_with_one_line(command: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    program = (
        "import sys\n"
        "from commands import errors\n"
        "from commands.__main__ import arena\n"
        "sys.excepthook = errors.report\n"
        f"arena(['--log-level', 'error', '{command}'])\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "ARENA_KAFKA": nowhere, "ARENA_KAFKA_PATIENCE_S": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 1
    last_line = result.stderr.splitlines()[-1]
    assert last_line.startswith("arena: ")
    assert nowhere in last_line
    assert "Traceback" not in result.stderr


SUPERVISED = """
import asyncio, sys
from commands.processes import supervisor
from commands.processes.supervisor import Part, run
supervisor.FIRST_DELAY_S = 0.1
supervisor.log.warning = lambda text, *facts: print(text % facts, flush=True)
asyncio.run(run([
    Part("brief", [sys.executable, "-c", "raise SystemExit(3)"]),
    Part("lasting", [sys.executable, "-c", "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"]),
]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_starts_again_what_ends_and_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    process = Process("up", [sys.executable, "-c", SUPERVISED], tmp_path / "log", {"PYTHONPATH": str(ROOT)})
    process.wait_until(lambda: "0.4 s" in process.log_tail() and "pid" in process.log_tail(), 20)
    lasting = int(next(line for line in process.log_tail().splitlines() if "pid" in line).split()[-1])

    os.kill(process.pid, number)

    assert process.wait(10) == 0
    assert "brief ended with exit code 3; starting it again in 0.1 s" in process.log_tail()
    assert "brief ended with exit code 3; starting it again in 0.2 s" in process.log_tail()
    assert not alive(lasting)
    process.kill()


def test_every_line_of_a_process_under_up_carries_its_name(tmp_path: Path) -> None:
    talking = (
        "import sys, time; print('one'); print('x' * 100_000); sys.stderr.write('to stderr\\nunfinished'); sys.exit(4)"
    )
    program = (
        "import asyncio, sys\n"
        "from commands.processes.supervisor import Part, run\n"
        f'asyncio.run(run([Part("talking", [sys.executable, "-u", "-c", {talking!r}])]))\n'
    )
    process = Process("up", [sys.executable, "-c", program], tmp_path / "log", {"PYTHONPATH": str(ROOT)})
    process.wait_until(lambda: "exit code 4" in process.log_tail(), 20)
    process.stop()

    lines = [line for line in process.log.read_text().splitlines() if line.startswith("talking     ")]
    assert lines[0] == "talking     one"
    assert "".join(line[12:] for line in lines[1:-2]) == "x" * 100_000
    assert lines[-2:] == ["talking     to stderr", "talking     unfinished"]


def test_up_killed_at_once_leaves_no_process_behind(tmp_path: Path) -> None:
    """SIGKILL gives it no chance to end its children."""
    process = Process("up", [sys.executable, "-c", SUPERVISED], tmp_path / "log", {"PYTHONPATH": str(ROOT)})
    process.wait_until(lambda: "pid" in process.log_tail(), 20)
    lasting = int(next(line for line in process.log_tail().splitlines() if "pid" in line).split()[-1])

    os.kill(process.pid, signal.SIGKILL)

    deadline = time.monotonic() + 20
    while alive(lasting) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(lasting)
    process.kill()


def test_an_invalid_whitelist_file_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text("factories = []")

    result = run("whitelist", "build", ARENA_WHITELIST_CONFIG=str(path), ARENA_DATA=str(tmp_path))

    assert result.returncode == 1
    assert result.stderr == f"arena: {path}: factories: none is named, so there is nowhere to look for pools\n"


def test_show_without_a_build_is_an_error(tmp_path: Path) -> None:
    result = run("whitelist", "show", ARENA_DATA=str(tmp_path))

    assert result.returncode == 1
    assert "no list of ethereum is built yet" in result.stderr


def test_each_process_serves_its_metrics(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "ARENA_METRICS_PORT": str(port),
        "ARENA_EXEX_SOCKET": str(tmp_path / "exex.sock"),
        "ARENA_DATA": str(tmp_path),
        "ARENA_RPC": "http://127.0.0.1:1",
        "ARENA_NATS": "nats://127.0.0.1:1",
    }
    process = Process(
        "exex", [sys.executable, "-m", "commands", "exex"], tmp_path / "log", {**os.environ, **environment}
    )
    try:
        process.wait_until(lambda: "The node: http://127.0.0.1:1" in process.log_tail(), 20)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            result = answer.read().decode()
        second = run("exex", **environment)
    finally:
        process.kill()

    assert 'arena_node_requests_total{outcome="failed"}' in result
    assert "arena_exex_head_block" in result
    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert second.stderr.count("\n") == 1


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
