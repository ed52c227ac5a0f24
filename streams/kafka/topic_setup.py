"""The topics: their names, how they are created and checked, and the clients that reach them."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from settings import Settings

log = logging.getLogger(__name__)

LARGEST_RECORD_BYTES = 32 * 2**20
"""A snapshot of 50,000 ticks is several MB, and a dead letter quotes what it could not read."""
BATCH_BYTES = 512 * 2**10
DAY_MS = 24 * 60 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
PATIENCE_S = 60.0
PAUSE_S = 3.0
FAREWELL_S = 5.0


class Topics(NamedTuple):
    whitelist: str
    wanted: str
    snapshots: str
    chain: str
    dead_letters: str
    bridge: str
    """Holds no records: whoever of several bridges owns its one partition leads."""


class KafkaUnreachable(Exception):
    def __init__(self, servers: str, patience_s: float) -> None:
        super().__init__(
            f"Kafka at {servers} did not answer for {patience_s:.0f} s; start it, or point ARENA_KAFKA to it"
        )


class TopicMismatch(Exception):
    """A topic exists with settings that would break what is read from it."""


class TopicRefused(Exception):
    def __init__(self, topic: str, error: BaseException, message: str | None) -> None:
        super().__init__(f"Kafka refused to create topic {topic}: {message or error}")


def topics(chain: str) -> Topics:
    return Topics(
        whitelist=f"{chain}.whitelist",
        wanted=f"{chain}.wanted",
        snapshots=f"{chain}.snapshots",
        chain=f"{chain}.chain",
        dead_letters=f"{chain}.dead-letters",
        bridge=f"{chain}.bridge",
    )


def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's default partitioner has it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def client_options(settings: Settings) -> dict[str, Any]:
    """Where Kafka is and how to be let in: the options that every aiokafka client takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka,
        "security_protocol": _security_protocol(settings),
    }
    if settings.kafka_tls_ca is not None:
        options["ssl_context"] = ssl.create_default_context(cafile=str(settings.kafka_tls_ca))
    if settings.kafka_username is not None:
        password = settings.kafka_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = password.get_secret_value() if password else ""
    return options


def fetch_limits() -> dict[str, int]:
    """Options of a consumer that reads records of LARGEST_RECORD_BYTES."""
    return {"max_partition_fetch_bytes": LARGEST_RECORD_BYTES, "fetch_max_bytes": 2 * LARGEST_RECORD_BYTES}


def producer(settings: Settings) -> AIOKafkaProducer:
    """To be made inside a running loop, and started by the caller."""
    return AIOKafkaProducer(
        **client_options(settings),
        enable_idempotence=True,
        acks="all",
        max_request_size=LARGEST_RECORD_BYTES,
        max_batch_size=BATCH_BYTES,
        linger_ms=0,
    )


@asynccontextmanager
async def producing(settings: Settings, farewell_s: float = FAREWELL_S) -> AsyncIterator[AIOKafkaProducer]:
    """Ends even where Kafka is gone: what it did not acknowledge by then is dropped for good."""
    sender = producer(settings)
    await sender.start()
    try:
        yield sender
    finally:
        try:
            async with asyncio.timeout(farewell_s):
                await sender.stop()
        except TimeoutError:
            log.warning("Kafka at %s did not take what was still to be sent; it is dropped", settings.kafka)
            await sender._sender.close()  # no public way out of a flush that cannot end
            await sender.client.close()


async def ensure(settings: Settings, patience_s: float = PATIENCE_S) -> None:
    """Creates the topics that are absent and checks those that are there.

    Raises KafkaUnreachable, TopicRefused, TopicMismatch.
    """
    async with _admin(settings, patience_s) as admin:
        wanted = _definitions(settings)
        there = await _described(admin)
        await _create(admin, settings, {name: conf for name, conf in wanted.items() if name not in there})
        there = await _led(admin, set(wanted), patience_s)
        for name in wanted:
            _check_partitions(name, len(there[name]), _partitions(settings, name))
        await _check_configurations(admin, wanted)


def _security_protocol(settings: Settings) -> str:
    encryption = "PLAINTEXT" if settings.kafka_tls_ca is None else "SSL"
    return encryption if settings.kafka_username is None else f"SASL_{encryption}"


def _definitions(settings: Settings) -> dict[str, dict[str, str]]:
    names = topics(settings.chain)
    retention_ms = int(settings.retention_days * DAY_MS)
    kept = {"cleanup.policy": "delete", "retention.ms": str(retention_ms), **_limits(settings)}
    return {
        names.chain: kept,
        names.snapshots: kept,
        names.dead_letters: kept,
        names.bridge: kept,
        names.wanted: {**kept, "retention.ms": str(min(retention_ms, DAY_MS))},
        names.whitelist: {
            "cleanup.policy": "compact",
            "delete.retention.ms": str(retention_ms),  # a worker away no longer than `chain` lasts sees each removal
            "segment.ms": str(HOUR_MS),
            **_limits(settings),
        },
    }


def _limits(settings: Settings) -> dict[str, str]:
    return {
        "max.message.bytes": str(LARGEST_RECORD_BYTES),
        "min.insync.replicas": str(max(1, settings.kafka_replication - 1)),
    }


@asynccontextmanager
async def _admin(settings: Settings, patience_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = await _connected(settings, patience_s)
    try:
        yield admin
    finally:
        await admin.close()


async def _connected(settings: Settings, patience_s: float) -> AIOKafkaAdminClient:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    while True:
        admin = AIOKafkaAdminClient(**client_options(settings))
        try:
            await admin.start()
        except KafkaConnectionError as error:
            await admin.close()
            if loop.time() + PAUSE_S > deadline_s:
                raise KafkaUnreachable(settings.kafka, patience_s) from error
            log.warning("Kafka at %s does not answer; trying again in %.0f s", settings.kafka, PAUSE_S)
            await asyncio.sleep(PAUSE_S)
        else:
            return admin


async def _described(admin: AIOKafkaAdminClient) -> dict[str, list[dict[str, Any]]]:
    """Partitions by topic. Asks for all topics: to ask for one by name can make the broker create it."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}


async def _create(admin: AIOKafkaAdminClient, settings: Settings, absent: Mapping[str, dict[str, str]]) -> None:
    if not absent:
        return
    response = await admin.create_topics(
        [
            NewTopic(name, _partitions(settings, name), settings.kafka_replication, topic_configs=configuration)
            for name, configuration in absent.items()
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another process may have been faster
            raise TopicRefused(name, error(), message[0] if message else None)
        log.info("topic %s is there with %d partitions", name, settings.partitions)


async def _led(admin: AIOKafkaAdminClient, names: set[str], patience_s: float) -> dict[str, list[dict[str, Any]]]:
    """Waits until every partition has a leader: a topic just created has none for a moment."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    while True:
        there = await _described(admin)
        unled = [name for name in names if not there.get(name) or any(p["leader"] < 0 for p in there[name])]
        if not unled:
            return there
        if loop.time() > deadline_s:
            raise KafkaError(f"no leader for the partitions of {', '.join(sorted(unled))} after {patience_s:.0f} s")
        await asyncio.sleep(0.1)


def _partitions(settings: Settings, name: str) -> int:
    return 1 if name == topics(settings.chain).bridge else settings.partitions


def _check_partitions(name: str, partitions: int, expected: int) -> None:
    if partitions != expected:
        raise TopicMismatch(
            f"topic {name} has {partitions} partitions where ARENA_PARTITIONS says {expected}, and a key's partition "
            f"depends on it; set ARENA_PARTITIONS={partitions}, or delete the chain's topics and start afresh"
        )


async def _check_configurations(admin: AIOKafkaAdminClient, wanted: Mapping[str, Mapping[str, str]]) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message)
            _check_configuration(name, {entry[0]: entry[1] for entry in entries}, wanted[name])


def _check_configuration(name: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    if actual["cleanup.policy"] != wanted["cleanup.policy"]:
        raise TopicMismatch(_mend(name, "cleanup.policy", actual, wanted))
    if int(actual["max.message.bytes"]) < int(wanted["max.message.bytes"]):
        raise TopicMismatch(_mend(name, "max.message.bytes", actual, wanted))


def _mend(name: str, option: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    return (
        f"topic {name} has {option}={actual[option]} and should have {wanted[option]}; mend it with kafka-configs "
        f"--alter --entity-type topics --entity-name {name} --add-config {option}={wanted[option]}"
    )
