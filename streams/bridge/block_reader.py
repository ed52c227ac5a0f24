"""Reads one block from the node and compares it with what the feed sent."""

import logging
from collections.abc import Sequence

from protocols.decoding import UndecodableLog, decode_listed
from protocols.registry import Event
from protocols.types import Log, PoolId
from streams.bridge.block import CompleteBlock, find_mismatches, find_prefix_mismatches, headers_match
from streams.bridge.metrics import DISAGREEMENTS
from streams.bridge.pool_listing import PoolListing
from streams.exex import seed
from streams.exex.steps import AssembledBlock
from streams.kafka.records import Header
from streams.node.block_logs import BlockLogs
from streams.node.blocks import NodeHeader
from streams.node.client import Node

log = logging.getLogger(__name__)


class BlockReader:
    def __init__(self, node: Node, listing: PoolListing, *, verify: bool, block_marks: bool, margin: int) -> None:
        """`verify`: the node's logs are read for every block and published. Else only where the feed's do not fit."""
        self._logs = BlockLogs(node)
        self._listing = listing
        self._verify = verify
        self._block_marks = block_marks
        self._margin = margin

    async def read(self, header: NodeHeader, fed: AssembledBlock | None) -> CompleteBlock:
        """Raises NodeUnavailable, RpcError."""
        fed = self._matching(header, fed)
        if fed is not None and not self._verify:
            listed = self._listing.listed
            return CompleteBlock(_header(header), {pool: fed.updates[pool] for pool in fed.updates if pool in listed})
        updates = await self._updates(header, is_expected=fed is not None and bool(fed.updates))
        if fed is not None:
            self._compare(fed, updates)
        return CompleteBlock(_header(header), updates)

    def _matching(self, header: NodeHeader, fed: AssembledBlock | None) -> AssembledBlock | None:
        """None where the feed sent nothing of this block, or was on another fork."""
        if fed is None or fed.number != header.number or fed.part != 0:
            return None
        if headers_match(header, fed):
            return fed
        DISAGREEMENTS.labels("header").inc()
        log.warning(
            "block %d: the feed has timestamp %s and base fee %s, the node %d and %s; the node's block is published",
            *(header.number, fed.timestamp, fed.base_fee, header.timestamp, header.base_fee),
        )
        return None

    async def _updates(self, header: NodeHeader, *, is_expected: bool) -> dict[PoolId, tuple[Event, ...]]:
        logs = await self._logs.read(header, is_expected=is_expected)
        try:
            return self._by_pool(logs)
        except UndecodableLog:
            for pool, error in self._undecodable_pools(logs).items():
                await self._listing.reject(pool, f"block {header.number}: {error}")
            return self._by_pool(logs)

    def _by_pool(self, logs: Sequence[Log]) -> dict[PoolId, tuple[Event, ...]]:
        updates: dict[PoolId, list[Event]] = {}
        for _, decoded in decode_listed(logs, self._listing.protocols, self._listing.managers):
            updates.setdefault(decoded.pool, []).append(decoded.event)
        return {pool: tuple(events) for pool, events in updates.items()}

    def _undecodable_pools(self, logs: Sequence[Log]) -> dict[PoolId, UndecodableLog]:
        """Pools with logs that their protocol cannot have emitted."""
        found = {}
        for pool, protocol in self._listing.protocols.items():
            try:
                decode_listed(logs, {pool: protocol}, self._listing.managers)
            except UndecodableLog as error:
                found[pool] = error
        return found

    def _compare(self, fed: AssembledBlock, read: dict[PoolId, tuple[Event, ...]]) -> None:
        compare = find_mismatches if self._block_marks else find_prefix_mismatches
        found = compare(fed.updates, read, self._comparable(fed, read))
        if found:
            DISAGREEMENTS.labels("updates").inc()
            log.warning("block %d: feed and node differ on %d pools, first on %s", fed.number, len(found), found[0])

    def _comparable(self, fed: AssembledBlock, read: dict[PoolId, tuple[Event, ...]]) -> list[PoolId]:
        """Pools listed long enough that the feed must forward them: it does not say when it applied a list."""
        listed = self._listing.listed
        return [
            pool
            for pool in {**fed.updates, **read}
            if pool in listed
            and listed[pool].from_block + self._margin <= fed.number
            and (self._block_marks or listed[pool].pool.protocol == seed.PROTOCOL)
        ]


def _header(header: NodeHeader) -> Header:
    return Header(header.number, header.hash, header.parent, header.timestamp)
