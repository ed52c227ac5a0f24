"""A block with the updates of all listed pools, and where feed and node differ about it. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from protocols.registry import Event
from protocols.types import PoolId
from streams.exex.control_layouts import is_on_wire
from streams.exex.steps import AssembledBlock
from streams.kafka.records import Header
from streams.node.blocks import NodeHeader

Updates = Mapping[PoolId, tuple[Event, ...]]


class CompleteBlock(msgspec.Struct, frozen=True):
    header: Header
    updates: dict[PoolId, tuple[Event, ...]]
    """Events of the listed pools, in log order."""


class UpdateMismatch(msgspec.Struct, frozen=True):
    pool: PoolId
    from_feed: tuple[Event, ...]
    from_node: tuple[Event, ...]

    def __str__(self) -> str:
        pairs = zip(self.from_feed, self.from_node, strict=False)
        position = next(
            (place for place, (fed, read) in enumerate(pairs) if fed != read),
            min(len(self.from_feed), len(self.from_node)),
        )
        fed, read = _at(self.from_feed, position), _at(self.from_node, position)
        return f"{self.pool} at its event {position}: feed {fed}, node {read}"


def headers_match(header: NodeHeader, fed: AssembledBlock) -> bool:
    """The wire has no hashes, so timestamp and base fee are compared.

    Sibling blocks can have both in common, so the updates are compared as well.
    """
    return (fed.timestamp is None or fed.timestamp == header.timestamp) and (
        fed.base_fee is None or fed.base_fee == (header.base_fee or 0)
    )


def find_mismatches(from_feed: Updates, from_node: Updates, pools: Iterable[PoolId]) -> list[UpdateMismatch]:
    """What is on no wire, such as Initialize, is not compared."""
    found = []
    for pool in pools:
        fed, read = from_feed.get(pool, ()), on_the_wire(from_node.get(pool, ()))
        if fed != read:
            found.append(UpdateMismatch(pool, fed, read))
    return found


def find_prefix_mismatches(from_feed: Updates, from_node: Updates, pools: Iterable[PoolId]) -> list[UpdateMismatch]:
    """For a wire without block marks: the feed's events must be the first of the pool's events in the block."""
    mismatches = find_mismatches(from_feed, from_node, pools)
    return [each for each in mismatches if each.from_node[: len(each.from_feed)] != each.from_feed]


def on_the_wire(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(event for event in events if is_on_wire(event))


def _at(events: tuple[Event, ...], position: int) -> str:
    return str(events[position]) if position < len(events) else "nothing"
