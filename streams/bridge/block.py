"""A block as the node has it, and where the feed told it differently. PURE."""

from collections.abc import Iterable, Mapping

import msgspec

from protocols.events import Event, Initialize
from protocols.types import PoolId
from streams.exex.assembly import FedBlock
from streams.kafka.records import Header
from streams.node.client import NodeHeader

Updates = Mapping[PoolId, tuple[Event, ...]]


class ReadBlock(msgspec.Struct, frozen=True):
    header: Header
    updates: dict[PoolId, tuple[Event, ...]]
    """Events of the pools on the list, in log order."""


class Difference(msgspec.Struct, frozen=True):
    pool: PoolId
    fed: tuple[Event, ...]
    read: tuple[Event, ...]

    def __str__(self) -> str:
        position = next(
            (place for place, pair in enumerate(zip(self.fed, self.read, strict=False)) if pair[0] != pair[1]),
            min(len(self.fed), len(self.read)),
        )
        fed, read = _short(self.fed, position), _short(self.read, position)
        return f"{self.pool} at its event {position}: feed {fed}, node {read}"


def headers_match(header: NodeHeader, fed: FedBlock) -> bool:
    """The wire has no hashes: time and base fee must do. Siblings can share both, so the logs are compared as well."""
    return (fed.timestamp is None or fed.timestamp == header.timestamp) and (
        fed.base_fee is None or fed.base_fee == (header.base_fee or 0)
    )


def differences(fed: Updates, read: Updates, comparable: Iterable[PoolId]) -> list[Difference]:
    """Initialize is on no wire, so it is not compared."""
    found = []
    for pool in comparable:
        told, seen = fed.get(pool, ()), without_initialize(read.get(pool, ()))
        if told != seen:
            found.append(Difference(pool, told, seen))
    return found


def cut_short(fed: Updates, read: Updates, comparable: Iterable[PoolId]) -> list[Difference]:
    """For a wire without block marks: what the feed told must be how the pool's block begins."""
    return [d for d in differences(fed, read, comparable) if d.read[: len(d.fed)] != d.fed]


def without_initialize(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(event for event in events if not isinstance(event, Initialize))


def _short(events: tuple[Event, ...], position: int) -> str:
    return str(events[position]) if position < len(events) else "nothing"
