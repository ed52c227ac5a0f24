"""The command line as people use it: real processes, what they say and how they end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from commands import __main__ as cli
from commands.up import Part
from commands.up import parts as parts_of
from lab.devnet.servers.processes import Process, free_port
from settings import Settings, settings
from streams.kafka.topic_setup import TopicMismatch
from tests.support.files import ROOT

COMMANDS = [
    "up",
    "worker",
    "bridge",
    "exex",
    "scraper",
    "demo",
    "pool",
    "pools",
    "status",
    "config",
    "profile",
    "whitelist",
]
POOL = {
    "id": "0x" + "ab" * 20,
    "protocol": "v3",
    "status": "live",
    "reason": None,
    "block": {"number": 7, "hash": "0x07"},
    "fee": 500,
    "state": {"sqrt_price_x96": "1", "tick": -5, "liquidity": "3"},
}
ANSWERS = {
    f"/pools/{POOL['id']}/": POOL,
    f"/pools/{POOL['id']}/ticks/": {
        "ticks": [{"tick": -10, "liquidity_gross": "3", "liquidity_net": "3"}],
    },
    "/pools/": {"pools": [POOL], "next": POOL["id"]},
    f"/pools/?cursor={POOL['id']}": {"pools": [], "next": None},
    "/status/": {
        "chain": "ethereum",
        "head": 7,
        "pools": {"live": 1, "waiting": 2},
        "reasons": {"listed": 2},
        "partitions": [
            {"partition": 0, "worker": "http://w", "ready": True, "head": {"number": 7}, "pools": {"live": 1}}
        ],
    },
}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = ANSWERS.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found or {"error": f"{self.path} is not on the whitelist"}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it so
        pass


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answers as a worker does."""
    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ARENA_WEB_PORT", str(server.server_port))
    settings.cache_clear()
    yield
    server.shutdown()
    server.server_close()
    settings.cache_clear()


def invoked(*arguments: str) -> str:
    result = CliRunner().invoke(cli.arena, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_is_for(command: str) -> None:
    told = cli.arena.commands[command].help

    assert told is not None
    assert " ".join(told.split()) in " ".join(invoked(command, "--help").split())


def test_config_shows_what_is_in_force_and_no_secret() -> None:
    told = run("config", "--json", ARENA_CHAIN="base", ARENA_KAFKA_PASSWORD="hush")

    assert told.returncode == 0
    assert json.loads(told.stdout)["ARENA_CHAIN"] == "base"
    assert json.loads(told.stdout)["ARENA_KAFKA_PASSWORD"] == "********"
    assert "hush" not in told.stdout + told.stderr


def test_a_setting_that_cannot_be_is_told_in_one_line() -> None:
    told = run("config", ARENA_PARTITIONS="many")

    assert told.returncode != 0
    assert told.stderr.startswith("arena: ARENA_PARTITIONS: ")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["status"], ["pools"], ["pool", "0x" + "00" * 20]])
def test_a_worker_that_is_not_up_is_told_in_one_line(command: list[str]) -> None:
    port = str(free_port())

    told = run(*command, ARENA_WEB_PORT=port)

    assert told.returncode != 0
    assert f"no worker answers at 127.0.0.1:{port}" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.usefixtures("worker")
def test_a_pool_is_printed_with_its_ticks() -> None:
    printed = invoked("pool", str(POOL["id"]), "--ticks")

    assert "status           live" in printed
    assert "tick             -5" in printed
    assert printed.splitlines()[-1].split() == ["-10", "3", "3"]


@pytest.mark.usefixtures("worker")
def test_an_error_of_the_worker_is_passed_on() -> None:
    result = CliRunner().invoke(cli.arena, ["pool", "0x…"])

    assert result.exit_code == 1
    assert "is not on the whitelist" in result.output


@pytest.mark.usefixtures("worker")
def test_pools_are_read_page_by_page() -> None:
    assert json.loads(invoked("pools", "--json")) == {"pools": [POOL]}
    assert invoked("pools").splitlines()[-1] == "1 pools"


@pytest.mark.usefixtures("worker")
def test_status_tells_who_waits_and_why() -> None:
    printed = invoked("status")

    assert "ethereum: head 7, 1 live, 2 waiting" in printed
    assert "2 waiting: listed" in printed
    assert json.loads(invoked("status", "--json")) == ANSWERS["/status/"]


def test_a_stop_for_safety_is_one_line_and_a_bug_is_not() -> None:
    ours = TopicMismatch("chain has 3 partitions and should have 8")

    assert cli.one_line(ours) == "chain has 3 partitions and should have 8"
    assert cli.one_line(BaseExceptionGroup("together", [ours])) == "chain has 3 partitions and should have 8"
    assert cli.one_line(ZeroDivisionError("division by zero")) is None


@pytest.mark.parametrize("command", ["bridge", "scraper"])
def test_kafka_down_at_start_ends_the_process_with_one_line(command: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    program = (
        "import sys, cli, streams.topics as topics\n"
        "topics.ensure.__defaults__ = (1.0,)\n"
        "sys.excepthook = cli._tell\n"
        f"cli.arena(['--log-level', 'error', '{command}'])\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "ARENA_KAFKA": nowhere},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert told.returncode == 1
    last_line = told.stderr.splitlines()[-1]
    assert last_line.startswith("arena: ")
    assert nowhere in last_line
    assert "Traceback" not in told.stderr


SUPERVISED = """
import asyncio, sys
from commands import up as supervisor
from commands.up import Part
from commands.up import parts as parts_of, run
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
    process.until(lambda: "0.4 s" in process.said() and "pid" in process.said(), 20)
    lasting = int(next(line for line in process.said().splitlines() if line.startswith("pid")).split()[1])

    os.kill(process.pid, number)

    assert process.wait(10) == 0
    assert "brief ended with exit code 3; starting it again in 0.1 s" in process.said()
    assert "brief ended with exit code 3; starting it again in 0.2 s" in process.said()
    assert not alive(lasting)
    process.kill()


def test_up_runs_all_parts_and_gives_each_worker_a_port() -> None:
    parts = parts_of(settings(), workers=2)

    assert [part.name for part in parts] == ["exex", "bridge", "scraper", "worker:6066", "worker:6067"]
    assert parts[-1] == Part("worker:6067", (sys.executable, "-m", "commands", "worker"), {"ARENA_WEB_PORT": "6067"})


def test_up_gives_each_part_a_port_for_its_metrics() -> None:
    parts = parts_of(Settings(metrics_port=7000), workers=1)

    ports = {part.name: part.environment.get("ARENA_METRICS_PORT") for part in parts}
    assert ports == {"exex": "7000", "bridge": "7001", "scraper": "7002", "worker:6066": None}


def test_up_runs_the_whitelist_where_it_is_told_what_to_do(tmp_path: Path) -> None:
    parts = parts_of(Settings(whitelist_config=tmp_path / "w.toml", metrics_port=7000), workers=1)

    (whitelist,) = (part for part in parts if part.name == "whitelist")
    assert list(whitelist.command[-2:]) == ["whitelist", "run"]
    assert whitelist.environment == {"ARENA_METRICS_PORT": "7003"}
    assert "whitelist" not in [part.name for part in parts_of(Settings(), workers=1)]


@pytest.mark.parametrize("command", ["build", "publish", "run", "show", "diff"])
def test_every_command_of_the_whitelist_says_what_it_is_for(command: str) -> None:
    assert "Options:" in invoked("whitelist", command, "--help")


def test_a_whitelist_file_that_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text("factories = []")

    told = run("whitelist", "build", ARENA_WHITELIST_CONFIG=str(path), ARENA_DATA=str(tmp_path))

    assert told.returncode == 1
    assert told.stderr == f"arena: {path}: factories is empty: there is nowhere to look for pools\n"


def test_what_is_not_built_cannot_be_shown(tmp_path: Path) -> None:
    told = run("whitelist", "show", ARENA_DATA=str(tmp_path))

    assert told.returncode == 1
    assert "nothing is built for ethereum yet" in told.stderr


def test_a_part_tells_prometheus_what_it_counts(tmp_path: Path) -> None:
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
        process.until(lambda: "No head from the node" in process.said(), 20)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            told = answer.read().decode()
        second = run("exex", **environment)
    finally:
        process.kill()

    assert 'arena_node_requests_total{outcome="failed"}' in told
    assert "arena_exex_head_block" in told
    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert second.stderr.count("\n") == 1


def test_what_we_started_ends_even_when_we_are_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from demo.processes import Process\n"
        f"print(Process('sleep', ['sleep', '600'], Path({str(tmp_path / 'log')!r})).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    parent.kill()
    parent.wait()

    deadline = time.monotonic() + 60
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)
    parent.stdout.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
