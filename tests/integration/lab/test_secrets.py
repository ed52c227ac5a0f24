"""Keys and passwords never leave the process: everything that the system writes is searched for them."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from lab.demo import whitelist
from lab.devnet.chain.world import World
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.kafka_security import PASSWORD, USER
from lab.devnet.servers.node_proxy import Mode, NodeProxy
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.system import environment_of
from settings import Settings
from tests.support.files import ROOT

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

RPC_KEY, NATS_PASSWORD = "marked-rpc-key", "marked-nats-password"
SECRETS = (RPC_KEY, NATS_PASSWORD, PASSWORD)
FAULTS: tuple[tuple[Mode, float], ...] = (("limiting", 4.0), ("failing", 3.0), ("unavailable", 2.0), ("refusing", 4.0))
METRICS_PARTS = 4
"""exex, bridge, scraper and whitelist have ports of their own."""


@pytest.fixture
def secured_kafka() -> Iterator[Kafka]:
    with Kafka(secured=True) as server:
        yield server


@pytest.fixture
def world(anvil: Callable[..., str]) -> World:
    return World(anvil(), seed=3)


@pytest.fixture
def proxy(world: World) -> Iterator[NodeProxy]:
    proxy = NodeProxy(world.chain.rpc.url)
    yield proxy
    proxy.stop()


@pytest.fixture
def settings(  # noqa: PLR0917  fixtures are arguments
    secured_kafka: Kafka, nats: str, world: World, proxy: NodeProxy, chain_name: str, tmp_path: Path
) -> Settings:
    assert secured_kafka.security is not None
    rpc = f"{proxy.url}/?key={RPC_KEY}"
    return Settings.model_validate(
        {
            "chain": chain_name,
            "kafka": secured_kafka.security.sasl_address,
            "kafka_username": USER,
            "kafka_password": PASSWORD,
            "kafka_tls_ca": secured_kafka.security.ca,
            "nats": nats.replace("nats://", f"nats://arena:{NATS_PASSWORD}@"),
            "rpc": rpc,
            "rpc_ws": rpc.replace("http", "ws", 1),
            "exex_socket": tmp_path / "exex.sock",
            "data": tmp_path / "data",
            "partitions": 2,
            "web_port": free_port(),
            "metrics_port": _adjacent_ports(METRICS_PARTS),
            "whitelist_config": whitelist.configuration(world.contracts, tmp_path),
            "session_timeout_s": 3,
        }
    )


async def test_no_key_is_in_anything_that_the_system_writes(
    settings: Settings, secured_kafka: Kafka, world: World, proxy: NodeProxy, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "commands", "up"]
    up = Process("up", command, tmp_path / "up.log", environment_of(settings))
    served = WorkerClient(f"http://127.0.0.1:{settings.web_port}")
    try:
        _until_live(world, served, up)
        for mode, lasts_s in FAULTS:
            proxy.set_mode(mode)
            _mine_for(world, lasts_s)
            proxy.set_mode("passing")
            _mine_for(world, 1.0)
        _until_live(world, served, up)
        written = {"HTTP": _http(settings, world), "topics": await _topics(secured_kafka, settings.chain)}
    finally:
        up.stop(30)
    written |= {"logs": up.log.read_bytes(), "configuration": _configuration(settings), "files": _files(settings.data)}

    assert all(written.values())
    assert b"429" in written["logs"] or b"-32005" in written["logs"]
    assert b"POST /?\xe2\x80\xa6 HTTP/1.1" in written["logs"], "no process logged what the node quotes"
    assert len(written["topics"]) > 10_000
    assert [(place, secret) for place, found in written.items() for secret in SECRETS if secret.encode() in found] == []


@pytest.mark.parametrize("process", ["bridge", "scraper", "worker"])
def test_a_refused_password_is_not_printed(settings: Settings, process: str) -> None:
    environment = environment_of(settings) | {"ARENA_KAFKA_PASSWORD": "marked-wrong", "ARENA_KAFKA_PATIENCE_S": "3"}
    done = _run(process, environment)

    assert done.returncode == 1
    assert b"marked-wrong" not in done.stdout + done.stderr
    assert [secret for secret in SECRETS if secret.encode() in done.stdout + done.stderr] == []


def _until_live(world: World, served: WorkerClient, up: Process, timeout_s: float = 120) -> None:
    deadline_s = time.monotonic() + timeout_s
    while served.status()["pools"].get("live") != len(world.pools) or served.heads() != {world.chain.tip.hash}:
        assert time.monotonic() < deadline_s, f"{served.status()}\n{up.log_tail(40)}"
        if served.status()["pools"].get("live") != len(world.pools):
            world.mine()
        time.sleep(0.3)


def _mine_for(world: World, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        world.mine()
        time.sleep(0.5)


def _http(settings: Settings, world: World) -> bytes:
    worker = f"http://127.0.0.1:{settings.web_port}"
    paths = ["/status/", "/pools/", "/metrics", "/healthz", "/readyz", "/nowhere", "/pools/0x00/"]
    paths += [f"/pools/{pool.id}/{end}" for pool in world.pools for end in ("", "ticks/", "explain/")]
    ports = range(settings.metrics_port or 0, (settings.metrics_port or 0) + METRICS_PARTS)
    return b"\n".join(
        [_get(f"{worker}{path}") for path in paths] + [_get(f"http://127.0.0.1:{port}/metrics") for port in ports]
    )


def _get(url: str) -> bytes:
    try:
        with urlopen(url, timeout=10) as answer:
            return str(answer.headers).encode() + bytes(answer.read())
    except HTTPError as error:
        with error:
            return str(error.headers).encode() + error.read()


async def _topics(kafka: Kafka, chain: str) -> bytes:
    """Keys, values and headers of every record, changelog and dead letters too, over the plain listener."""
    found: list[bytes] = []
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    names = [name for name in await admin.list_topics() if name.startswith(chain)]
    described = await admin.describe_topics(names)
    await admin.close()
    places = [TopicPartition(each["topic"], at["partition"]) for each in described for at in each["partitions"]]
    async with AIOKafkaConsumer(bootstrap_servers=kafka.address) as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [repr((record.key, record.value, record.headers)).encode() for record in records]
    return b"\n".join(found)


def _configuration(settings: Settings) -> bytes:
    plain, as_json = (_run(*arguments, environment_of(settings)) for arguments in (("config",), ("config", "--json")))
    return plain.stdout + plain.stderr + as_json.stdout + as_json.stderr


def _run(*arguments: object) -> "subprocess.CompletedProcess[bytes]":
    *words, environment = arguments
    assert isinstance(environment, dict)
    command = [sys.executable, "-m", "commands", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)


def _files(directory: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def _adjacent_ports(count: int) -> int:
    """`up` gives its processes successive ports from this one."""
    return free_port() // count * count
