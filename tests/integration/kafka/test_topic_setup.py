import asyncio
import time
import uuid
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from settings import Settings
from streams.kafka.clients import fetch_limits, producer, producing
from streams.kafka.topic_checks import TopicMismatch
from streams.kafka.topic_reader import read_all
from streams.kafka.topic_setup import KafkaUnreachable, ensure_topics
from streams.kafka.topics import partition_of, topics

pytestmark = pytest.mark.servers


def own(kafka: str, **changes: Any) -> Settings:
    return Settings(chain=f"t{uuid.uuid4().hex[:8]}", kafka=kafka, partitions=3, **changes)


async def created(kafka: str, name: str, partitions: int = 3, **configuration: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        options = {key.replace("_", "."): value for key, value in configuration.items()}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=options)])
    finally:
        await admin.close()


async def configuration(kafka: str, name: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return {entry[0]: entry[1] for entry in response.resources[0][4]}
    finally:
        await admin.close()


async def test_absent_topics_are_created_with_their_cleanup_and_retention(kafka: str) -> None:
    settings = own(kafka, retention_days=2)
    names = topics(settings.chain)

    await ensure_topics(settings)

    chain = await configuration(kafka, names.chain)
    assert chain["cleanup.policy"] == "delete"
    assert chain["retention.ms"] == str(2 * 24 * 3600 * 1000)
    assert (await configuration(kafka, names.snapshots))["max.message.bytes"] == str(32 * 2**20)
    assert (await configuration(kafka, names.whitelist))["cleanup.policy"] == "compact"
    assert (await configuration(kafka, names.dead_letters))["cleanup.policy"] == "delete"


async def test_topics_that_are_right_are_left_alone(kafka: str) -> None:
    settings = own(kafka)

    await asyncio.gather(*(ensure_topics(settings) for _ in range(3)))
    await ensure_topics(settings)


async def test_another_number_of_partitions_is_refused_and_named(kafka: str) -> None:
    settings = own(kafka)
    await created(kafka, topics(settings.chain).chain, partitions=5)

    with pytest.raises(TopicMismatch, match=r"\.chain has 5 partitions where ARENA_PARTITIONS says 3.*=5"):
        await ensure_topics(settings)


async def test_another_cleanup_policy_is_refused_with_the_command_that_changes_it(kafka: str) -> None:
    settings = own(kafka)
    await created(kafka, topics(settings.chain).chain, cleanup_policy="compact")

    with pytest.raises(TopicMismatch, match=r"cleanup.policy=compact and should have delete; change it"):
        await ensure_topics(settings)


async def test_a_snapshots_topic_too_small_for_a_large_pool_is_refused(kafka: str) -> None:
    settings = own(kafka)
    await created(kafka, topics(settings.chain).snapshots, cleanup_policy="delete")

    with pytest.raises(TopicMismatch, match=r"max.message.bytes=1048588 and should have 33554432"):
        await ensure_topics(settings)


async def test_other_retention_and_replication_are_logged_with_the_command_that_changes_them(
    kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = own(kafka)
    await ensure_topics(settings)

    await ensure_topics(settings.model_copy(update={"retention_days": 30, "kafka_replication": 3}))

    name = topics(settings.chain).chain
    assert f"topic {name} has retention.ms=604800000 and should have 2592000000; change it" in caplog.text
    assert f"topic {name} has 1 replicas where ARENA_KAFKA_REPLICATION says 3" in caplog.text
    assert f"topic {name} has min.insync.replicas=1 and should have 2" in caplog.text


async def test_a_topic_that_nothing_can_be_written_to_is_refused(kafka: str) -> None:
    settings = own(kafka)
    options = {"cleanup_policy": "delete", "max_message_bytes": str(32 * 2**20), "min_insync_replicas": "2"}
    await created(kafka, topics(settings.chain).chain, 3, **options)

    with pytest.raises(TopicMismatch, match=r"has 1 replicas and min.insync.replicas=2: nothing can be written"):
        await ensure_topics(settings)


async def test_a_managed_kafka_with_small_records_takes_a_large_snapshot_compressed(kafka: str) -> None:
    settings = own(kafka, kafka_max_message_bytes=1_000_000)
    await ensure_topics(settings)
    name, value = topics(settings.chain).snapshots, b'{"tick":887220,"liquidity_net":"12345"},' * 200_000

    async with producing(settings, compressed=True) as sender:
        await sender.send_and_wait(name, value, key=b"0xab")

    assert (await configuration(kafka, name))["max.message.bytes"] == "1000000"
    assert [record.value for record in await read_all(settings, name)] == [value]


async def test_a_record_of_20_mb_passes_through(kafka: str) -> None:
    settings = own(kafka)
    await ensure_topics(settings)
    value = b"x" * 20_000_000
    name = topics(settings.chain).snapshots

    async with producer(settings) as sender:
        sent = await sender.send_and_wait(name, value, key=b"0xab")
    async with AIOKafkaConsumer(bootstrap_servers=kafka, **fetch_limits()) as consumer:
        consumer.assign([TopicPartition(name, sent.partition)])
        await consumer.seek_to_beginning()
        received = await consumer.getone()

    assert received.value == value


async def test_a_key_lands_where_partition_of_says(kafka: str) -> None:
    settings = own(kafka)
    await ensure_topics(settings)
    keys = [f"0x{number:040x}".encode() for number in range(0, 10**6, 20_011)]

    async with AIOKafkaProducer(bootstrap_servers=kafka) as sender:
        sent = [await sender.send_and_wait(topics(settings.chain).chain, b"{}", key=key) for key in keys]

    assert [record.partition for record in sent] == [partition_of(key, 3) for key in keys]


async def test_without_kafka_the_wait_ends_with_a_sentence(unused_tcp_port: int) -> None:
    settings = own(f"127.0.0.1:{unused_tcp_port}", kafka_patience_s=4)
    began = time.monotonic()

    with pytest.raises(KafkaUnreachable, match=r"did not answer for 4 s; start it, or point ARENA_KAFKA to it"):
        await ensure_topics(settings)

    assert time.monotonic() - began < 10
