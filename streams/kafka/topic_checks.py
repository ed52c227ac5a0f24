"""Compares topics that exist with what they should be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

COMPARED = ("retention.ms", "delete.retention.ms", "min.insync.replicas", "max.message.bytes")

Partitions = Sequence[Mapping[str, Any]]
"""Of one topic, as aiokafka's admin client describes them."""


class TopicMismatch(Exception):
    """A topic exists with a configuration that would break what is written to it or read from it."""


class TopicFault(NamedTuple):
    sentence: str
    """With what to do about it."""
    is_fatal: bool


def partition_faults(name: str, partitions: Partitions, expected: int, replication: int) -> Iterator[TopicFault]:
    """A lower replication is not fatal: it needs a reassignment, which is the operator's to plan."""
    if (count := len(partitions)) != expected:
        yield TopicFault(
            f"topic {name} has {count} partitions where ARENA_PARTITIONS says {expected}, and a key's partition "
            f"depends on it; set ARENA_PARTITIONS={count}, or delete the chain's topics and start afresh",
            is_fatal=True,
        )
    if (replicas := lowest_replication(partitions)) < replication:
        yield TopicFault(
            f"topic {name} has {replicas} replicas where ARENA_KAFKA_REPLICATION says {replication}; change it with "
            "kafka-reassign-partitions",
            is_fatal=False,
        )


async def configuration_faults(
    admin: AIOKafkaAdminClient, wanted: Mapping[str, Mapping[str, str]], partitions: Mapping[str, Partitions]
) -> list[TopicFault]:
    """Of the topics of `wanted`, all of which exist. Raises KafkaError."""
    faults: list[TopicFault] = []
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message)
            actual = {entry[0]: entry[1] for entry in entries}
            faults += _fatal(name, actual, wanted[name], lowest_replication(partitions[name]))
            faults += _weakening(name, actual, wanted[name])
    return faults


def lowest_replication(partitions: Partitions) -> int:
    return min(len(partition["replicas"]) for partition in partitions)


def _fatal(name: str, actual: Mapping[str, str], wanted: Mapping[str, str], replicas: int) -> Iterator[TopicFault]:
    if actual["cleanup.policy"] != wanted["cleanup.policy"]:
        yield TopicFault(_difference(name, "cleanup.policy", actual, wanted), is_fatal=True)
    if int(actual["max.message.bytes"]) < int(wanted["max.message.bytes"]):
        smaller = f", or set ARENA_KAFKA_MAX_MESSAGE_BYTES={actual['max.message.bytes']}"
        yield TopicFault(_difference(name, "max.message.bytes", actual, wanted) + smaller, is_fatal=True)
    if int(actual["min.insync.replicas"]) > replicas:
        yield TopicFault(
            f"topic {name} has {replicas} replicas and min.insync.replicas={actual['min.insync.replicas']}: nothing "
            f"can be written to it; {_command(name, 'min.insync.replicas', wanted['min.insync.replicas'])}",
            is_fatal=True,
        )


def _weakening(name: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[TopicFault]:
    for option in COMPARED:
        if option in wanted and actual.get(option) != wanted[option]:
            yield TopicFault(_difference(name, option, actual, wanted), is_fatal=False)


def _difference(name: str, option: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    return (
        f"topic {name} has {option}={actual.get(option)} and should have {wanted[option]}; "
        f"{_command(name, option, wanted[option])}"
    )


def _command(name: str, option: str, value: str) -> str:
    return (
        f"change it with kafka-configs --alter --entity-type topics --entity-name {name} --add-config {option}={value}"
    )
