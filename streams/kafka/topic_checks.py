"""Checks topics that exist: what would break the reading of them is refused, what weakens them is logged."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

log = logging.getLogger(__name__)

COMPARED = ("retention.ms", "delete.retention.ms", "min.insync.replicas", "max.message.bytes")


class TopicMismatch(Exception):
    """A topic exists with a configuration that would break what is written to it or read from it."""


def check_partitions(name: str, partitions: int, expected: int) -> None:
    """Raises TopicMismatch."""
    if partitions != expected:
        raise TopicMismatch(
            f"topic {name} has {partitions} partitions where ARENA_PARTITIONS says {expected}, and a key's partition "
            f"depends on it; set ARENA_PARTITIONS={partitions}, or delete the chain's topics and start afresh"
        )


def check_replication(name: str, partitions: Sequence[Mapping[str, Any]], expected: int) -> None:
    """A lower factor is logged: it needs a reassignment, which is the operator's to plan."""
    if (replicas := lowest_replication(partitions)) < expected:
        log.warning(
            "topic %s has %d replicas where ARENA_KAFKA_REPLICATION says %d; change it with kafka-reassign-partitions",
            *(name, replicas, expected),
        )


async def check_configurations(
    admin: AIOKafkaAdminClient,
    wanted: Mapping[str, Mapping[str, str]],
    partitions: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Raises TopicMismatch."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message)
            actual = {entry[0]: entry[1] for entry in entries}
            _refuse(name, actual, wanted[name], lowest_replication(partitions[name]))
            _warn(name, actual, wanted[name])


def lowest_replication(partitions: Sequence[Mapping[str, Any]]) -> int:
    return min(len(partition["replicas"]) for partition in partitions)


def _refuse(name: str, actual: Mapping[str, str], wanted: Mapping[str, str], replicas: int) -> None:
    if actual["cleanup.policy"] != wanted["cleanup.policy"]:
        raise TopicMismatch(_difference(name, "cleanup.policy", actual, wanted))
    if int(actual["max.message.bytes"]) < int(wanted["max.message.bytes"]):
        raise TopicMismatch(
            _difference(name, "max.message.bytes", actual, wanted)
            + f", or set ARENA_KAFKA_MAX_MESSAGE_BYTES={actual['max.message.bytes']}"
        )
    if int(actual["min.insync.replicas"]) > replicas:
        raise TopicMismatch(
            f"topic {name} has {replicas} replicas and min.insync.replicas={actual['min.insync.replicas']}: nothing "
            f"can be written to it; {_command(name, 'min.insync.replicas', wanted['min.insync.replicas'])}"
        )


def _warn(name: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for option in COMPARED:
        if option in wanted and actual.get(option) != wanted[option]:
            log.warning("%s", _difference(name, option, actual, wanted))


def _difference(name: str, option: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    return (
        f"topic {name} has {option}={actual.get(option)} and should have {wanted[option]}; "
        f"{_command(name, option, wanted[option])}"
    )


def _command(name: str, option: str, value: str) -> str:
    return (
        f"change it with kafka-configs --alter --entity-type topics --entity-name {name} --add-config {option}={value}"
    )
