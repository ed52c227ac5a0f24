"""A real Kafka with SASL over TLS and mutual TLS: every process connects, and every fault is named."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from aiokafka.errors import KafkaError

from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.kafka_security import PASSWORD, SCRAM_PASSWORD, SCRAM_USER, USER, KafkaSecurity
from lab.devnet.servers.processes import free_port
from lab.devnet.servers.system import environment_of, system
from protocols.types import PoolId, PoolMetadata
from settings import Settings
from streams.kafka.clients import producing
from streams.kafka.connection import KafkaRefused, KafkaUnanswered, explain
from streams.kafka.topic_reader import read_all
from streams.kafka.topic_setup import KafkaUnreachable, ensure_topics
from streams.kafka.topics import topics
from tests.support.bridge.bridge_harness import list_pools
from tests.support.bridge.emitting_chain import METADATA, TOKENS, emitting_chain

pytestmark = pytest.mark.servers

WRONG = "not-the-secret"
WITHOUT_CODE = PoolMetadata(PoolId("0x" + "de" * 20), "v2", TOKENS[0], TOKENS[1])
"""The scraper says on `snapshots` that there is no such pool."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    with Kafka(secured=True) as started:
        yield started


@pytest.fixture
def security(broker: Kafka) -> KafkaSecurity:
    assert broker.security is not None
    return broker.security


def plain(security: KafkaSecurity, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "kafka": security.sasl_address,
        "kafka_tls_ca": security.ca,
        "kafka_username": USER,
        "kafka_password": password,
    }


def scram(security: KafkaSecurity, password: str = SCRAM_PASSWORD) -> dict[str, Any]:
    return {**plain(security, password), "kafka_username": SCRAM_USER, "kafka_sasl_mechanism": "SCRAM-SHA-512"}


def mutual(security: KafkaSecurity) -> dict[str, Any]:
    return {
        "kafka": security.mtls_address,
        "kafka_tls_ca": security.ca,
        "kafka_tls_certificate": security.client,
    }


@pytest.mark.parametrize("way", [plain, scram, mutual])
async def test_records_are_sent_and_read_over_tls(
    security: KafkaSecurity, chain_name: str, way: Callable[[KafkaSecurity], dict[str, Any]]
) -> None:
    settings = Settings(chain=chain_name, partitions=2, **way(security))
    await ensure_topics(settings)

    async with producing(settings) as kafka:
        await kafka.send_and_wait(topics(chain_name).wanted, b"{}", key=b"0xab")

    assert [record.value for record in await read_all(settings, topics(chain_name).wanted)] == [b"{}"]


REFUSED: list[tuple[Callable[[KafkaSecurity], dict[str, Any]], str]] = [
    (lambda s: plain(s, WRONG), "refuses ARENA_KAFKA_USERNAME and ARENA_KAFKA_PASSWORD: Authentication failed"),
    (lambda s: scram(s, WRONG), "refuses ARENA_KAFKA_USERNAME and ARENA_KAFKA_PASSWORD: Authentication failed"),
    (lambda s: scram(s) | {"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "has not enabled SCRAM-SHA-256"),
    (lambda s: plain(s) | {"kafka_tls_ca": s.foreign_ca}, "is not trusted: .*set ARENA_KAFKA_TLS_CA"),
    (lambda s: plain(s) | {"kafka_tls_ca": None, "kafka_tls": True}, "is not trusted: .*set ARENA_KAFKA_TLS_CA"),
]


@pytest.mark.parametrize(("way", "sentence"), REFUSED)
async def test_wrong_settings_end_the_start_at_once_with_their_cause(
    security: KafkaSecurity, way: Callable[[KafkaSecurity], dict[str, Any]], sentence: str
) -> None:
    settings = Settings(kafka_patience_s=60, **way(security))

    async with asyncio.timeout(20):
        with pytest.raises(KafkaRefused, match=sentence) as refused:
            await ensure_topics(settings)

    assert WRONG not in str(refused.value)


UNANSWERED: list[tuple[Callable[[KafkaSecurity, Kafka], dict[str, Any]], str]] = [
    (lambda s, _: mutual(s) | {"kafka_tls_certificate": None}, "it may want a client certificate"),
    (lambda s, _: mutual(s) | {"kafka_tls_certificate": s.foreign_client}, "it may not trust ARENA_KAFKA_TLS_CERT"),
    (lambda s, _: {"kafka": s.mtls_address}, "it may want TLS"),
    (lambda s, b: mutual(s) | {"kafka": b.address}, "is it a port without TLS"),
    (lambda s, _: mutual(s) | {"kafka": f"localhost:{free_port()}"}, "Connect call failed|Connection refused"),
]


@pytest.mark.parametrize(("way", "sentence"), UNANSWERED)
async def test_a_temporary_fault_is_retried_and_the_last_error_names_its_cause(
    security: KafkaSecurity, broker: Kafka, way: Callable[[KafkaSecurity, Kafka], dict[str, Any]], sentence: str
) -> None:
    settings = Settings(kafka_patience_s=4, **way(security, broker))

    with pytest.raises(KafkaUnanswered, match=sentence):
        await explain(settings)
    with pytest.raises(KafkaUnreachable, match=sentence):
        await ensure_topics(settings)


async def test_an_unreachable_server_is_passed_over(security: KafkaSecurity) -> None:
    several = plain(security) | {"kafka": f"localhost:{free_port()}, {security.sasl_address}"}

    await explain(Settings(**several))


@pytest.mark.parametrize("process", ["bridge", "scraper", "worker"])
@pytest.mark.parametrize("way", [lambda s: plain(s, WRONG), lambda s: plain(s) | {"kafka_tls_ca": s.foreign_ca}])
def test_a_process_with_a_wrong_password_or_authority_ends_with_a_sentence(
    security: KafkaSecurity,
    chain_name: str,
    tmp_path: Path,
    process: str,
    way: Callable[[KafkaSecurity], dict[str, Any]],
) -> None:
    settings = Settings(chain=chain_name, data=tmp_path, web_port=free_port(), **way(security))

    ended = subprocess.run(
        [sys.executable, "-m", "commands", process],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "refuses ARENA_KAFKA_USERNAME" in output or "is not trusted" in output
    assert "Traceback" not in output
    assert WRONG not in output and PASSWORD not in output


@pytest.fixture
def unsecured(nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path) -> Settings:
    return Settings(
        chain=chain_name,
        nats=nats,
        rpc=anvil(),
        exex_socket=tmp_path / "exex.sock",
        partitions=2,
        data=tmp_path,
        web_port=free_port(),
        standby_replicas=0,
    )


@pytest.mark.parametrize("way", [scram, mutual])
async def test_every_process_runs_over_tls(
    unsecured: Settings, security: KafkaSecurity, tmp_path: Path, way: Callable[[KafkaSecurity], dict[str, Any]]
) -> None:
    settings = Settings(**{name: getattr(unsecured, name) for name in unsecured.model_fields_set}, **way(security))
    await list_pools(settings, [METADATA[0], WITHOUT_CODE])
    async with emitting_chain(str(settings.rpc)) as chain:
        with system(settings, 1, tmp_path) as ours:
            for name in ours.names:
                ours.start(name)
            async with asyncio.timeout(120):
                head = None
                while head is None or head < (await chain.head()).number - 1:
                    ours.raise_if_ended()
                    await chain.mine(*chain.busy_events())
                    await asyncio.sleep(0.5)
                    head = await asyncio.to_thread(worker_head, ours.urls[0])
                while not await read_all(settings, topics(settings.chain).snapshots):
                    ours.raise_if_ended()
                    await asyncio.sleep(0.5)


def worker_head(url: str) -> int | None:
    try:
        with urlopen(f"{url}/status/", timeout=5) as answer:
            head = json.load(answer)["head"]
    except (URLError, OSError, ValueError):
        return None
    return int(head["number"] if isinstance(head, dict) else head) if head is not None else None


async def test_a_broker_that_hides_its_cause_still_raises_aiokafkas_own_error(security: KafkaSecurity) -> None:
    """The commands print a KafkaError as one line."""
    with pytest.raises(KafkaError, match="may want TLS"):
        await read_all(Settings(kafka=security.mtls_address), "any")
