"""One block as the node has it, compared with what the feed told of it."""

import logging
from collections.abc import Sequence

from protocols.decoding import UndecodableLog, decode_listed
from protocols.events import Event
from protocols.types import Log, PoolId
from streams.bridge.block import ReadBlock, cut_short, differences, headers_match
from streams.bridge.metrics import DISAGREEMENTS
from streams.bridge.pool_listing import Listing
from streams.exex.assembly import FedBlock
from streams.kafka.records import Header
from streams.node.client import Node, NodeHeader

log = logging.getLogger(__name__)


class Reader:
    def __init__(self, node: Node, listing: Listing, *, verify: bool, block_marks: bool, margin: int) -> None:
        """`verify`: the node's logs are read for every block, and believed. Else only where the feed is no help."""
        self._node = node
        self._listing = listing
        self._verify = verify
        self._block_marks = block_marks
        self._margin = margin

    async def read(self, header: NodeHeader, fed: FedBlock | None) -> ReadBlock:
        told = fed if fed is not None and fed.number == header.number and fed.part == 0 else None
        if told is not None and not headers_match(header, told):
            DISAGREEMENTS.labels("header").inc()
            log.warning(
                "block %d: the feed has time %s and base fee %s, the node %d and %s; the node is taken at its word",
                *(header.number, told.timestamp, told.base_fee, header.timestamp, header.base_fee),
            )
            told = None
        if told is not None and not self._verify:
            held = self._listing.held
            return ReadBlock(_header(header), {pool: told.updates[pool] for pool in told.updates if pool in held})
        updates = await self._updates(header)
        if told is not None:
            self._compare(told, updates)
        return ReadBlock(_header(header), updates)

    async def _updates(self, header: NodeHeader) -> dict[PoolId, tuple[Event, ...]]:
        logs = await self._node.logs(header.hash)
        try:
            return self._grouped(logs)
        except UndecodableLog:
            for pool, error in self._impostors(logs).items():
                await self._listing.refuse(pool, f"block {header.number}: {error}")
            return self._grouped(logs)

    def _grouped(self, logs: Sequence[Log]) -> dict[PoolId, tuple[Event, ...]]:
        updates: dict[PoolId, list[Event]] = {}
        for _, decoded in decode_listed(logs, self._listing.protocols, self._listing.managers):
            updates.setdefault(decoded.pool, []).append(decoded.event)
        return {pool: tuple(events) for pool, events in updates.items()}

    def _impostors(self, logs: Sequence[Log]) -> dict[PoolId, UndecodableLog]:
        found = {}
        for pool, protocol in self._listing.protocols.items():
            try:
                decode_listed(logs, {pool: protocol}, self._listing.managers)
            except UndecodableLog as error:
                found[pool] = error
        return found

    def _compare(self, fed: FedBlock, read: dict[PoolId, tuple[Event, ...]]) -> None:
        compare = differences if self._block_marks else cut_short
        found = compare(fed.updates, read, self._comparable(fed, read))
        if found:
            DISAGREEMENTS.labels("updates").inc()
            log.warning("block %d: feed and node differ on %d pools, first on %s", fed.number, len(found), found[0])

    def _comparable(self, fed: FedBlock, read: dict[PoolId, tuple[Event, ...]]) -> list[PoolId]:
        """Pools that the feed has been forwarding for sure: it does not say when it took a list over."""
        held = self._listing.held
        return [
            pool
            for pool in {**fed.updates, **read}
            if pool in held
            and held[pool].from_block + self._margin <= fed.number
            and (self._block_marks or held[pool].pool.protocol == "v3")
        ]


def _header(header: NodeHeader) -> Header:
    return Header(header.number, header.hash, header.parent, header.timestamp)
