"""The names of a chain's topics, and the partition of a key."""

from typing import NamedTuple

from aiokafka.partitioner import murmur2


class Topics(NamedTuple):
    whitelist: str
    wanted: str
    snapshots: str
    chain: str
    dead_letters: str
    updates: str
    """What the workers changed, for programs."""
    bridge: str
    """Holds no records: the bridge that owns its one partition is the leader."""


def topics(chain: str) -> Topics:
    return Topics(
        whitelist=f"{chain}.whitelist",
        wanted=f"{chain}.wanted",
        snapshots=f"{chain}.snapshots",
        chain=f"{chain}.chain",
        dead_letters=f"{chain}.dead-letters",
        updates=f"{chain}.updates",
        bridge=f"{chain}.bridge",
    )


def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's default partitioner has it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
