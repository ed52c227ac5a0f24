"""Creates the topics that are absent, and has those that exist checked."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from settings import Settings
from streams.kafka.clients import client_options
from streams.kafka.connection import start_client
from streams.kafka.topic_checks import Partitions, TopicFault, TopicMismatch, configuration_faults, partition_faults
from streams.kafka.topics import topics
from streams.retry import Retries

log = logging.getLogger(__name__)

DAY_MS = 24 * 60 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
FOR_EVER_MS = "-1"
LONGEST_DELAY_S = 3.0
LEADER_POLL_S = 0.1


class KafkaUnreachable(Exception):
    def __init__(self, servers: str, timeout_s: float, last: Exception) -> None:
        super().__init__(
            f"Kafka at {servers} did not answer for {timeout_s:.0f} s; start it, or point ARENA_KAFKA to it ({last})"
        )


class TopicRefused(Exception):
    def __init__(self, topic: str, error: BaseException, message: str | None) -> None:
        super().__init__(f"Kafka refused to create topic {topic}: {message or error}")


async def ensure_topics(settings: Settings) -> None:
    """Waits for Kafka up to ARENA_KAFKA_PATIENCE_S, creates the topics that are absent, and checks those that exist.

    Raises KafkaUnreachable, KafkaRefused, InsecureKafka, TopicRefused, TopicMismatch.
    """
    await _ensure(settings, _configurations(settings))


async def ensure_backfill_topics(settings: Settings) -> None:
    """As `ensure_topics`, of a backfill: its list, snapshots and blocks, all kept until somebody deletes the topics."""
    wanted, names = _configurations(settings), topics(settings.chain)
    for_ever = {"retention.ms": FOR_EVER_MS}
    await _ensure(
        settings,
        {
            names.whitelist: wanted[names.whitelist],
            names.snapshots: wanted[names.snapshots] | for_ever,
            names.chain: wanted[names.chain] | for_ever,
        },
    )


async def missing_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Those that Kafka does not have; it may create a topic that a consumer asks for."""
    async with _admin(settings) as admin:
        existing = await _described(admin)
    return [name for name in names if name not in existing]


async def _ensure(settings: Settings, wanted: Mapping[str, dict[str, str]]) -> None:
    async with _admin(settings) as admin:
        existing = await _described(admin)
        await _create(admin, settings, {name: conf for name, conf in wanted.items() if name not in existing})
        existing = await _wait_for_leaders(admin, set(wanted), settings.kafka_patience_s)
        for fault in await _faults(admin, settings, wanted, existing):
            if fault.is_fatal:
                raise TopicMismatch(fault.sentence)
            log.warning("%s", fault.sentence)


class TopicReport(NamedTuple):
    existing: Mapping[str, Partitions]
    """The chain's topics by name."""
    absent: list[str]
    faults: list[TopicFault]
    brokers: int


async def inspect_topics(settings: Settings) -> TopicReport:
    """Changes nothing, and does not wait for Kafka. Raises KafkaRefused, KafkaUnanswered, InsecureKafka, KafkaError."""
    admin = await _started(settings)
    try:
        wanted = _configurations(settings)
        described = await _described(admin)
        existing = {name: described[name] for name in wanted if name in described}
        faults = await _faults(admin, settings, {name: wanted[name] for name in existing}, existing)
        brokers = len((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()
    return TopicReport(existing, sorted(wanted.keys() - existing.keys()), faults, brokers)


async def _faults(
    admin: AIOKafkaAdminClient,
    settings: Settings,
    wanted: Mapping[str, Mapping[str, str]],
    existing: Mapping[str, Partitions],
) -> list[TopicFault]:
    faults: list[TopicFault] = []
    for name in wanted:
        faults += partition_faults(name, existing[name], _partitions(settings, name), settings.kafka_replication)
    return [*faults, *await configuration_faults(admin, wanted, existing)] if wanted else faults


def _configurations(settings: Settings) -> dict[str, dict[str, str]]:
    names = topics(settings.chain)
    retention_ms = int(settings.retention_days * DAY_MS)
    kept = {"cleanup.policy": "delete", "retention.ms": str(retention_ms), **_size_and_safety(settings)}
    updates = {names.updates: kept} if settings.updates else {}
    return {
        **updates,
        names.chain: kept,
        names.snapshots: kept,
        names.dead_letters: kept,
        names.bridge: kept,
        names.wanted: {**kept, "retention.ms": str(min(retention_ms, DAY_MS))},
        names.whitelist: {
            "cleanup.policy": "compact",
            "delete.retention.ms": str(retention_ms),  # so that a worker down for less still reads each removal
            "segment.ms": str(HOUR_MS),
            **_size_and_safety(settings),
        },
    }


def _size_and_safety(settings: Settings) -> dict[str, str]:
    return {
        "max.message.bytes": str(settings.kafka_max_message_bytes),
        "min.insync.replicas": str(max(1, settings.kafka_replication - 1)),
    }


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = await _connect(settings)
    try:
        yield admin
    finally:
        await admin.close()


async def _connect(settings: Settings) -> AIOKafkaAdminClient:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + settings.kafka_patience_s

    def is_retried(error: Exception) -> bool:
        return isinstance(error, KafkaConnectionError) and loop.time() + LONGEST_DELAY_S < deadline_s

    try:
        async for attempt in Retries(f"Kafka at {settings.kafka}", is_retried, wait_max_s=LONGEST_DELAY_S):
            with attempt:
                return await _started(settings)
    except KafkaConnectionError as error:
        raise KafkaUnreachable(settings.kafka, settings.kafka_patience_s, error) from error
    raise AssertionError("an attempt returns or raises")


async def _started(settings: Settings) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await start_client(settings, admin)
    except BaseException:
        await admin.close()
        raise
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
        log.info("created topic %s with %d partitions", name, _partitions(settings, name))


async def _wait_for_leaders(
    admin: AIOKafkaAdminClient, names: set[str], timeout_s: float
) -> dict[str, list[dict[str, Any]]]:
    """A topic just created has partitions without a leader for a moment. Returns the partitions by topic."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while True:
        existing = await _described(admin)
        leaderless = [name for name in names if not existing.get(name) or any(p["leader"] < 0 for p in existing[name])]
        if not leaderless:
            return existing
        if loop.time() > deadline_s:
            raise KafkaError(f"no leader for the partitions of {', '.join(sorted(leaderless))} after {timeout_s:.0f} s")
        await asyncio.sleep(LEADER_POLL_S)


def _partitions(settings: Settings, name: str) -> int:
    return 1 if name == topics(settings.chain).bridge else settings.partitions
