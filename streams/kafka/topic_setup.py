"""Creates the topics that are absent and checks the configuration of those that exist."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from settings import Settings
from streams.kafka.clients import LARGEST_RECORD_BYTES, client_options
from streams.kafka.topics import topics

log = logging.getLogger(__name__)

DAY_MS = 24 * 60 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
PATIENCE_S = 60.0
PAUSE_S = 3.0


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
