"""The connection to NATS: several servers, TLS, passwords and client certificates, on real servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lab.devnet.servers.nats import Nats, tls
from lab.devnet.servers.processes import free_port
from settings import Settings
from streams.nats.connection import NatsUnavailable, connect_nats
from streams.nats.jetstream import publish
from streams.nats.servers import InsecureNats
from streams.nats.subscriber import Received, subscribe
from streams.nats.whitelist_encoder import OutgoingMessage
from tests.support.certificates import Certificates

pytestmark = pytest.mark.servers

PASSWORD = "the-marked-password"
AUTHORIZATION = {"user": "arena", "password": PASSWORD}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def start() -> Iterator[Callable[..., Nats]]:
    with ExitStack() as started:
        yield lambda **config: started.enter_context(Nats(config=config))


def settings(*servers: Nats | str, **changes: Any) -> Settings:
    addresses = [server if isinstance(server, str) else server.address for server in servers]
    return Settings(nats=",".join(addresses), **changes)


async def failure(given: Settings) -> str:
    with pytest.raises(NatsUnavailable) as raised:
        async with connect_nats(given):
            pass
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


async def assert_connects(given: Settings) -> None:
    async with connect_nats(given) as client:
        await client.flush()
        assert client.max_payload > 0


def closed_port() -> str:
    return f"nats://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("position", [0, 1])
async def test_one_dead_server_of_a_list_does_not_matter(start: Callable[..., Nats], position: int) -> None:
    servers: list[Nats | str] = [closed_port(), closed_port()]
    servers.insert(position, start())

    await assert_connects(settings(*servers))


async def test_a_list_of_dead_servers_says_what_each_of_them_does() -> None:
    first, second = closed_port(), closed_port()

    said = await failure(settings(first, second))

    assert f"{first.removeprefix('nats://')}: " in said
    assert f"{second.removeprefix('nats://')}: " in said
    assert "Connect call failed" in said


async def test_the_next_server_is_used_when_the_first_dies(
    start: Callable[..., Nats], certificates: Certificates, chain_name: str
) -> None:
    first, second = start(), start()
    subject = f"whitelist.pools.{chain_name}.full"
    received: list[Received] = []

    async def collect() -> None:
        async with aclosing(subscribe(settings(first, second, chain=chain_name))) as messages:
            async for message in messages:
                received.append(message)

    task = asyncio.create_task(collect())
    for number, server in enumerate((first, second)):
        async with connect_nats(settings(server)) as client, asyncio.timeout(60):
            while len(received) == number:
                await client.publish(subject, b"%d" % number)
                await asyncio.sleep(0.05)
                received[number + 1 :] = []
        server.kill()
    task.cancel()

    assert {message.payload for message in received} == {b"0", b"1"}


async def test_a_password_over_tls_and_everything_that_needs_an_answer(
    start: Callable[..., Nats], certificates: Certificates, chain_name: str
) -> None:
    server = start(tls=tls(*certificates.issue("127.0.0.1")), authorization=AUTHORIZATION)
    given = settings(server, nats_tls_ca=certificates.ca, nats_user="arena", nats_password=SecretStr(PASSWORD))
    message = OutgoingMessage(f"whitelist.pools.{chain_name}.full", b"the list")

    async with connect_nats(given) as client:
        await publish(client, chain_name, [message])
    async with aclosing(subscribe(given.model_copy(update={"chain": chain_name}))) as messages:
        retained = await asyncio.wait_for(anext(messages), 30)

    assert retained == Received(*message)


async def test_a_password_in_the_address_is_used_and_not_shown(
    start: Callable[..., Nats], certificates: Certificates
) -> None:
    server = start(authorization={"user": "arena", "password": "p@ss:word"})
    good = server.address.replace("nats://", "nats://arena:p%40ss%3Aword@")

    await assert_connects(settings(good))
    said = await failure(settings(good.replace("p%40ss", PASSWORD)))

    assert "Authorization Violation" in said


async def test_a_token_in_the_address_is_used(start: Callable[..., Nats]) -> None:
    server = start(authorization={"token": "secret-token"})

    await assert_connects(settings(server.address.replace("nats://", "nats://secret-token@")))


async def test_a_client_certificate_stands_for_the_password(
    start: Callable[..., Nats], certificates: Certificates
) -> None:
    server = start(tls=tls(*certificates.issue("127.0.0.1"), client_ca=certificates.ca))
    certificate, key = certificates.issue("arena.example")

    await assert_connects(
        settings(server, nats_tls_ca=certificates.ca, nats_tls_certificate=certificate, nats_tls_key=key)
    )


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_missing_or_foreign_client_certificate_is_refused_with_a_sentence(
    start: Callable[..., Nats], certificates: Certificates, tmp_path: Path, foreign: bool
) -> None:
    server = start(tls=tls(*certificates.issue("127.0.0.1"), client_ca=certificates.ca))
    changes: dict[str, Any] = {"nats_tls_ca": certificates.ca}
    if foreign:
        certificate, key = Certificates(tmp_path / "foreign").issue("arena.example")
        changes |= {"nats_tls_certificate": certificate, "nats_tls_key": key}

    assert "ARENA_NATS_TLS_CERTIFICATE" in await failure(settings(server, **changes))


async def test_a_wrong_password_is_refused_with_the_servers_sentence(
    start: Callable[..., Nats], certificates: Certificates
) -> None:
    server = start(tls=tls(*certificates.issue("127.0.0.1")), authorization=AUTHORIZATION)
    given = settings(server, nats_tls_ca=certificates.ca, nats_user="arena", nats_password=SecretStr("wrong"))

    began_s = time.monotonic()
    said = await failure(given)

    assert "Authorization Violation" in said
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name"])
async def test_a_certificate_that_is_not_trusted_is_refused_at_once(
    start: Callable[..., Nats], certificates: Certificates, tmp_path: Path, fault: str
) -> None:
    name = "elsewhere.example" if fault == "wrong name" else "127.0.0.1"
    server = start(tls=tls(*certificates.issue(name)))
    known = certificates if fault == "wrong name" else Certificates(tmp_path / "another")

    began_s = time.monotonic()
    said = await failure(settings(server, nats_tls_ca=known.ca))

    assert "its certificate is not trusted" in said
    assert time.monotonic() - began_s < 10


async def test_a_list_with_one_untrusted_server_connects_to_the_other(
    start: Callable[..., Nats], certificates: Certificates, tmp_path: Path
) -> None:
    untrusted = start(tls=tls(*Certificates(tmp_path / "another").issue("127.0.0.1")))
    good = start(tls=tls(*certificates.issue("127.0.0.1")))

    await assert_connects(settings(untrusted, good, nats_tls_ca=certificates.ca))


async def test_the_systems_authorities_are_trusted_where_none_is_named(
    start: Callable[..., Nats], certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tls=tls(*certificates.issue("127.0.0.1")))
    assert "its certificate is not trusted" in await failure(settings(server, nats_tls=True))

    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))

    await assert_connects(settings(server, nats_tls=True))


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(start: Callable[..., Nats], scheme: str) -> None:
    server = start()

    said = await failure(settings(server.address.replace("nats", scheme), nats_tls=scheme == "nats"))

    assert "the server offers no TLS" in said


@asynccontextmanager
async def recording_server() -> AsyncIterator[tuple[int, bytearray]]:
    """Speaks the beginning of NATS without TLS, and keeps all that it is sent."""
    sent = bytearray()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"auth_required":true}\r\n')
        while data := await reader.read(4096):
            sent.extend(data)
            if b"PING" in data:
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(accept, "0.0.0.0", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], sent


@pytest.mark.parametrize("where", ["settings", "address", "token"])
async def test_a_password_is_never_sent_in_clear_to_another_machine(where: str) -> None:
    """0.0.0.0 is this machine too, but no loopback address."""
    async with recording_server() as (port, sent):
        match where:
            case "settings":
                given = settings(f"nats://0.0.0.0:{port}", nats_user="arena", nats_password=SecretStr(PASSWORD))
            case "address":
                given = settings(f"nats://arena:{PASSWORD}@0.0.0.0:{port}")
            case _:
                given = settings(f"nats://{PASSWORD}@0.0.0.0:{port}")
        said = await failure(given)
        await asyncio.sleep(0.2)

    assert "no password is sent in clear" in said
    assert PASSWORD.encode() not in sent


async def test_a_password_is_not_sent_in_clear_where_tls_is_asked_for() -> None:
    async with recording_server() as (port, sent):
        given = settings(
            f"nats://127.0.0.1:{port}", nats_tls=True, nats_user="arena", nats_password=SecretStr(PASSWORD)
        )
        said = await failure(given)
        await asyncio.sleep(0.2)

    assert "the server offers no TLS" in said
    assert PASSWORD.encode() not in sent


async def test_a_password_in_clear_is_accepted_on_loopback(start: Callable[..., Nats]) -> None:
    server = start(authorization=AUTHORIZATION)

    await assert_connects(settings(server, nats_user="arena", nats_password=SecretStr(PASSWORD)))


async def test_a_silent_server_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        said = await failure(settings(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"))

    assert "no answer in time" in said


async def test_tls_files_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InsecureNats, match=r"ARENA_NATS_TLS_CA=.*missing\.pem"):
        async with connect_nats(settings("nats://127.0.0.1:9", nats_tls_ca=Path("missing.pem"))):
            pass
