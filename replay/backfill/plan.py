"""The plan of a backfill: its name, its blocks, the block of its snapshots, and its pools."""

import re
from collections.abc import Collection, Mapping

import msgspec

from protocols.types import PoolId, PoolMetadata
from settings import Settings

NAME = re.compile(r"[a-zA-Z0-9_-]{1,80}")
"""What may stand in the name of a topic, without its separator."""


class InvalidPlan(Exception):
    """What is asked for cannot be a backfill, or is not the one of that name."""


class Plan(msgspec.Struct, frozen=True):
    name: str
    snapshots_at: int
    """The block at whose end the pools are read."""
    first: int
    last: int
    """Of the blocks on the topic: those that were asked for, and those between the snapshots and them."""


def make_plan(first: int, last: int, snapshots_at: int | None, name: str | None) -> Plan:
    """By default the snapshots are of the block before the first, so that the events of the first count. Raises
    InvalidPlan."""
    name = name or f"{first}-{last}"
    if not NAME.fullmatch(name):
        raise InvalidPlan(f"{name!r} is no name of a backfill: letters, digits, - and _, 80 at most")
    if not 1 <= first <= last:
        raise InvalidPlan(f"blocks {first} to {last} are not a range; a range begins at block 1 or later")
    at = first - 1 if snapshots_at is None else snapshots_at
    if at > last:
        raise InvalidPlan(f"snapshots of block {at} come after block {last}, the last of the range")
    return Plan(name, at, min(first, at + 1), last)


def topics_prefix(chain: str, name: str) -> str:
    """Of the backfill's topics."""
    return f"{chain}-backfill-{name}"


def backfill_settings(settings: Settings, name: str) -> Settings:
    """The settings with the backfill's topics in place of the live ones; the node is believed about every block."""
    return settings.model_copy(update={"chain": topics_prefix(settings.chain, name), "bridge_verify": True})


def only_these(pools: Mapping[PoolId, PoolMetadata], ids: Collection[PoolId]) -> dict[PoolId, PoolMetadata]:
    """Raises InvalidPlan for a pool that the list does not have."""
    if unknown := sorted(set(ids) - pools.keys()):
        raise InvalidPlan(f"{unknown[0]} is not on the list of {len(pools)} pools; a backfill needs its metadata")
    return {pool: pools[pool] for pool in pools if pool in ids}
