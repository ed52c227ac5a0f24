"""Pools that are created inside the range: found by their factories' logs, read at the block of their creation."""

import logging
from collections.abc import Mapping

from protocols.abi import AbiMismatch, decode_arguments
from protocols.registry import dex_of
from protocols.types import Block, Log, PoolId, ProtocolName
from replay.backfill.snapshots import PoolSnapshots
from streams.bridge.block import CompleteBlock
from streams.bridge.chain_follower import BlockSource
from streams.exex.steps import AssembledBlock
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.log_ranges import LogsRefused, RangeWidth, logs_in_ranges

log = logging.getLogger(__name__)


async def creation_blocks(node: Node, pools: Mapping[PoolId, ProtocolName], first: int, last: int) -> dict[PoolId, int]:
    """By the creation logs of any contract: a pool that is read too early has no state yet, which does no harm."""
    found: dict[PoolId, int] = {}
    for protocol in sorted(set(pools.values())):
        query = {"topics": ["0x" + dex_of(protocol).creation.log.topic0.hex()]}
        try:
            async for logs in logs_in_ranges(node, query, first, last, RangeWidth()):
                created = {pool: each.block for each in logs if (pool := _created_pool(protocol, each.log)) in pools}
                found |= {pool: number for pool, number in created.items() if pool is not None}
        except LogsRefused as error:
            log.warning("%s pools created in the range count from their first event only: %s", protocol, error)
    return found


def _created_pool(protocol: ProtocolName, log_: Log) -> PoolId | None:
    dex = dex_of(protocol)
    try:
        return dex.created_pool(decode_arguments(dex.creation.log, log_))
    except AbiMismatch:
        return None


class BlocksAndCreations:
    """Blocks from another source; the snapshots of pools that have no state before them are published first."""

    def __init__(self, blocks: BlockSource, snapshots: PoolSnapshots, created: Mapping[PoolId, int]) -> None:
        self._blocks = blocks
        self._snapshots = snapshots
        self._created = created

    async def read(self, header: NodeHeader, fed: AssembledBlock | None) -> CompleteBlock:
        block = await self._blocks.read(header, fed)
        due = [
            pool
            for pool_id, pool in self._snapshots.without_state.items()
            if pool_id in block.updates or self._created.get(pool_id) == header.number
        ]
        if due:
            await self._snapshots.take(Block(header.number, header.hash), due)
        return block
