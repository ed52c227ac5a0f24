"""`arena doctor` against real servers, each with a fault, and against servers without one."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.devnet.servers.processes import free_port
from settings import Settings
from streams.kafka.topic_setup import ensure_topics
from tests.support.files import ROOT
from tests.support.rpc_proxy import Call, error, proxied

Report = dict[str, Any]


def doctor(**environment: str) -> Report:
    """Its JSON; the exit code must agree with it."""
    result = subprocess.run(
        [sys.executable, "-m", "commands", "doctor", "--json"],
        cwd=ROOT,
        env={**os.environ, "ARENA_WEB_PORT": str(free_port()), **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    report: Report = json.loads(result.stdout)
    assert result.returncode == (0 if report["ok"] else 1), result.stderr
    return report


def found(report: Report, area: str, level: str) -> str:
    return "\n".join(
        f"{each['fact']} → {each['advice']}"
        for each in report["findings"]
        if (each["area"], each["level"]) == (area, level)
    )


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """Settings of servers that are not there."""
    closed = f"127.0.0.1:{free_port()}"
    return {
        "ARENA_KAFKA": closed,
        "ARENA_NATS": f"nats://{closed}",
        "ARENA_RPC": f"http://{closed}",
        "ARENA_EXEX_SOCKET": str(tmp_path / "exex.sock"),
        "ARENA_DATA": str(tmp_path / "data"),
    }


async def test_a_system_without_fault_passes(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> None:
    await ensure_topics(Settings(kafka=kafka, chain=chain_name, partitions=2))
    path = tmp_path / "exex.sock"
    with socket.socket(socket.AF_UNIX) as feed:
        feed.bind(str(path))
        feed.listen()

        report = doctor(
            ARENA_CHAIN=chain_name,
            ARENA_PARTITIONS="2",
            ARENA_KAFKA=kafka,
            ARENA_NATS=nats,
            ARENA_RPC=anvil(),
            ARENA_EXEX_SOCKET=str(path),
            ARENA_DATA=str(tmp_path / "data"),
        )

    assert report["ok"], report
    assert "chain 31337" in found(report, "node", "ok")
    assert "state overrides" in found(report, "node", "ok")
    assert "are as the settings say" in found(report, "kafka", "ok")
    assert "a feed listens" in found(report, "exex", "ok")
    assert "JetStream holds no whitelist" in found(report, "nats", "warning")


def test_each_server_that_is_not_there_is_a_problem_with_its_setting(nowhere: dict[str, str]) -> None:
    report = doctor(**nowhere)

    for area, setting in (("node", "ARENA_RPC"), ("kafka", "ARENA_KAFKA"), ("nats", "ARENA_NATS")):
        assert setting in found(report, area, "problem")
    assert "nothing listens" in found(report, "exex", "warning")


def test_a_node_of_another_chain_is_a_problem(nowhere: dict[str, str], anvil: Callable[..., str]) -> None:
    report = doctor(**{**nowhere, "ARENA_RPC": anvil(), "ARENA_CHAIN_ID": "1"})

    assert "is of chain 31337, ARENA_CHAIN_ID says 1" in found(report, "node", "problem")


async def test_a_node_without_overrides_logs_or_old_blocks_is_described(
    nowhere: dict[str, str], anvil: Callable[..., str]
) -> None:
    def weak(call: Call) -> Call | None:
        if call["method"] == "eth_call" and len(call["params"]) > 2:
            return error("too many arguments, want at most 2", -32602)
        if call["method"] == "eth_getBlockByNumber" and call["params"][0] in ("safe", "finalized"):
            return error("unknown block")
        return None

    async with proxied(anvil(), weak) as proxy:
        report = await _in_thread(**{**nowhere, "ARENA_RPC": proxy.url})

    weaknesses = found(report, "node", "warning")
    assert "refuses state overrides" in weaknesses
    assert "does not know the block safe and finalized" in weaknesses


async def test_a_clock_that_is_behind_and_a_head_that_is_old_are_problems(
    nowhere: dict[str, str], anvil: Callable[..., str]
) -> None:
    ahead = anvil("--timestamp", "4000000000")
    behind = anvil("--timestamp", "1000000000")

    assert "in the future by this machine's clock" in found(
        doctor(**{**nowhere, "ARENA_RPC": ahead}), "node", "problem"
    )
    assert "its newest block 0 is" in found(doctor(**{**nowhere, "ARENA_RPC": behind}), "node", "problem")


async def test_pruned_logs_are_a_warning_that_names_what_needs_them(
    nowhere: dict[str, str], anvil: Callable[..., str]
) -> None:
    def pruned(call: Call) -> Call | None:
        is_old = call["method"] == "eth_getBlockByNumber" and call["params"][0] == "0x0"
        return error("pruned history unavailable", 4444) if is_old else None

    rpc = anvil()
    _mine(rpc, 300)
    async with proxied(rpc, pruned) as proxy:
        report = await _in_thread(**{**nowhere, "ARENA_RPC": proxy.url})

    assert "serves logs from block 100 on" in found(report, "node", "warning")
    assert "whitelist build" in found(report, "node", "warning")


async def test_a_topic_with_other_partitions_and_retention_is_a_problem(
    nowhere: dict[str, str], kafka: str, chain_name: str
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(f"{chain_name}.chain", 3, 1, topic_configs={"retention.ms": "1000"})])
    finally:
        await admin.close()

    report = doctor(**{**nowhere, "ARENA_KAFKA": kafka, "ARENA_CHAIN": chain_name, "ARENA_KAFKA_REPLICATION": "3"})

    assert f"topic {chain_name}.chain has 3 partitions" in found(report, "kafka", "problem")
    assert "ARENA_KAFKA_REPLICATION=3 and 1 brokers" in found(report, "kafka", "problem")
    assert "retention.ms=1000" in found(report, "kafka", "warning")


def test_a_file_in_the_socket_s_place_and_data_that_cannot_be_written_are_problems(
    nowhere: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "exex.sock").write_text("")
    (tmp_path / "data").write_text("")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        report = doctor(**{**nowhere, "ARENA_WEB_PORT": str(other.getsockname()[1])})

    assert "is not a socket" in found(report, "exex", "problem")
    assert "cannot be written" in found(report, "machine", "problem")
    assert "cannot listen" in found(report, "machine", "problem")


def test_no_secret_is_printed(nowhere: dict[str, str]) -> None:
    report = doctor(
        **{**nowhere, "ARENA_RPC": "http://127.0.0.1:1/v2/marked-key", "ARENA_NATS": "nats://u:marked-key@127.0.0.1:1"}
    )

    assert "marked-key" not in json.dumps(report)


async def _in_thread(**environment: str) -> Report:
    """The proxy runs in this event loop."""
    return await asyncio.to_thread(lambda: doctor(**environment))


def _mine(rpc: str, blocks: int) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "anvil_mine", "params": [hex(blocks)]}).encode()
    urlopen(Request(rpc, body, {"Content-Type": "application/json"}), timeout=10).close()
