"""A real NATS with TLS: every process connects, with a password and with a certificate, and logs why it is refused."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lab.demo import whitelist
from lab.devnet.chain.world import World
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers.nats import Nats, tls
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.system import environment_of, system
from settings import Settings
from tests.support.certificates import Certificates

pytestmark = pytest.mark.servers

PASSWORD = "the-marked-password"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def start() -> Iterator[Callable[..., Nats]]:
    with ExitStack() as started:
        yield lambda **config: started.enter_context(Nats(config=config))


@pytest.fixture
def world(anvil: Callable[..., str]) -> World:
    return World(anvil(), seed=3)


@pytest.fixture
def plain(kafka: str, world: World, chain_name: str, tmp_path: Path) -> Settings:
    return Settings(
        chain=chain_name,
        kafka=kafka,
        rpc=world.chain.rpc.url,
        exex_socket=tmp_path / "exex.sock",
        partitions=2,
        data=tmp_path / "data",
        web_port=free_port(),
        standby_replicas=0,
        whitelist_config=whitelist.configuration(world.contracts, tmp_path),
    )


def secured(plain: Settings, server: Nats, certificates: Certificates, way: str) -> Settings:
    changes: dict[str, Any] = {"nats": server.address, "nats_tls_ca": certificates.ca}
    if way == "password":
        changes |= {"nats_user": "arena", "nats_password": SecretStr(PASSWORD)}
    else:
        certificate, key = certificates.issue("arena.example")
        changes |= {"nats_tls_certificate": certificate, "nats_tls_key": key}
    return Settings(**{name: getattr(plain, name) for name in plain.model_fields_set}, **changes)


def server_of(start: Callable[..., Nats], certificates: Certificates, way: str) -> Nats:
    pair = certificates.issue("127.0.0.1")
    if way == "password":
        return start(tls=tls(*pair), authorization={"user": "arena", "password": PASSWORD})
    return start(tls=tls(*pair, client_ca=certificates.ca))


@pytest.mark.parametrize("way", ["password", "certificate"])
async def test_all_five_processes_run_over_tls(  # noqa: PLR0917  fixtures are arguments
    plain: Settings, start: Callable[..., Nats], certificates: Certificates, world: World, tmp_path: Path, way: str
) -> None:
    settings = secured(plain, server_of(start, certificates, way), certificates, way)
    published = [sys.executable, "-m", "commands", "whitelist", "publish"]
    with system(settings, 1, tmp_path) as ours:
        for name in ours.names:
            ours.start(name)
        done = await asyncio.to_thread(
            subprocess.run, published, env=environment_of(settings), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        served = WorkerClient(ours.urls[0])
        async with asyncio.timeout(120):
            while not await asyncio.to_thread(_all_live, served, world):
                ours.raise_if_ended()
                await asyncio.to_thread(world.mine)
                await asyncio.sleep(0.5)
        logs = "".join(process.log.read_text() for process in ours.processes.values())
    assert "NATS: " not in logs
    assert "is not published: NATS" not in logs
    assert PASSWORD not in logs


def _all_live(served: WorkerClient, world: World) -> bool:
    try:
        return bool(served.status()["pools"].get("live") == len(world.pools))
    except (OSError, KeyError):
        return False


@pytest.mark.parametrize("command", [["exex"], ["bridge"], ["scraper"], ["whitelist", "publish"]])
@pytest.mark.parametrize("fault", ["password", "authority"])
def test_a_wrong_password_and_an_unknown_authority_are_logged_as_a_sentence(  # noqa: PLR0917  fixtures are arguments
    plain: Settings,
    start: Callable[..., Nats],
    certificates: Certificates,
    tmp_path: Path,
    command: list[str],
    fault: str,
) -> None:
    """The worker does not use NATS. The commands that run for ever try again; `whitelist publish` ends."""
    server = server_of(start, certificates, "password")
    good = secured(plain, server, certificates, "password")
    change: dict[str, Any] = (
        {"nats_password": SecretStr("the-marked-wrong-one")}
        if fault == "password"
        else {"nats_tls_ca": Certificates(tmp_path / "foreign").ca}
    )
    settings = Settings(**{name: getattr(good, name) for name in good.model_fields_set} | change)
    sentence = "Authorization Violation" if fault == "password" else "its certificate is not trusted"

    process = Process("it", [sys.executable, "-m", "commands", *command], tmp_path / "log", environment_of(settings))
    try:
        process.wait_until(lambda: sentence in process.log.read_text(), 60)
        if command[0] == "whitelist":
            assert process.wait(30) != 0
        else:
            assert process.exit_code is None
    finally:
        process.stop(20)

    logged = process.log.read_text()
    assert "Traceback" not in logged
    assert "marked" not in logged
