"""Finds the pools that factories created, range by range, continuing at the last canonical checkpoint.

A range counts only if its last block has the same hash before and after its logs are read. After a reorg the scan goes
back to the last checkpoint whose block is canonical, and drops every pool found after it.
"""

import logging
from collections.abc import Callable, Sequence

import msgspec

from protocols.abi import AbiMismatch
from protocols.types import Block, ProtocolName
from streams.node.blocks import BlockLog
from streams.node.client import Node
from streams.node.log_ranges import RangeWidth, logs_in_range
from streams.node.pinned_state import BlockGone
from whitelist.configuration import Factory
from whitelist.pools.factory_events import DiscoveredPool, creation_topic, decode_creation
from whitelist.pools.pool_index import PoolIndex

log = logging.getLogger(__name__)

UNSETTLED_BLOCKS = 64
"""Scanned again each time: a node may have a block before it has indexed its logs, and then answers none."""

ScanProgress = Callable[[str, range, int], None]
"""Called with a factory, the range of blocks to scan, and the next block of it."""


class FactoryScanner(msgspec.Struct):
    node: Node
    index: PoolIndex
    progress: ScanProgress
    width: RangeWidth = msgspec.field(default_factory=RangeWidth)

    async def scan(self, factories: Sequence[Factory], head: Block) -> None:
        """Up to and including `head`. Raises BlockGone where a reorg replaces it, LogsRefused, NodeUnavailable."""
        for factory in factories:
            self.index.start_factory(factory.address, factory.kind, factory.from_block)
            checkpoint = await _last_canonical(self.node, self.index.checkpoints(factory.address))
            self.index.truncate(factory.address, -1 if checkpoint is None else checkpoint)
            first = factory.from_block if checkpoint is None else checkpoint + 1 - UNSETTLED_BLOCKS
            await self._scan(factory, range(max(first, factory.from_block), head.number + 1))
            if not self.index.count([factory.address]):
                log.warning(
                    "%s created no %s pool in blocks %d to %d: is it a factory of that protocol, on this chain?",
                    *(factory.address, factory.kind, factory.from_block, head.number),
                )
        await _check_canonical(self.node, head)

    async def _scan(self, factory: Factory, blocks: range) -> None:
        query = {"address": factory.address, "topics": ["0x" + creation_topic(factory.kind).hex()]}
        at = blocks.start
        while at < blocks.stop:
            self.progress(factory.address, blocks, at)
            end = await _block(self.node, min(at + self.width.blocks, blocks.stop) - 1)
            logs = await logs_in_range(self.node, query, at, end.number, self.width)
            if logs is None:
                continue
            await _check_canonical(self.node, end)
            self.index.add_range(factory.address, _pools(factory.kind, factory.address, logs), end)
            at = end.number + 1
        self.progress(factory.address, blocks, blocks.stop)


def _pools(protocol: ProtocolName, factory: str, logs: Sequence[BlockLog]) -> list[tuple[int, DiscoveredPool]]:
    pools = []
    for placed in logs:
        if placed.log.address != factory or placed.log.topics[:1] != (creation_topic(protocol),):
            continue
        try:
            pools.append((placed.block, decode_creation(protocol, placed.log)))
        except AbiMismatch as error:
            log.warning(
                "Log %d of block %d of %s is not a pool creation: %s",
                placed.log.log_index,
                placed.block,
                factory,
                error,
            )
    return pools


async def _last_canonical(node: Node, checkpoints: Sequence[Block]) -> int | None:
    """The newest checkpoint on the node's chain, by binary search: all before a canonical one are canonical too."""
    low, high = 0, len(checkpoints)
    while low < high:
        # the newest one first: it nearly always is canonical
        middle = high - 1 if high == len(checkpoints) else (low + high) // 2
        checkpoint = checkpoints[middle]
        header = await node.header(checkpoint.number)
        if header is not None and header.hash == checkpoint.hash:
            low = middle + 1
        else:
            high = middle
    return checkpoints[low - 1].number if low else None


async def _block(node: Node, number: int) -> Block:
    header = await node.header(number)
    if header is None:
        raise BlockGone(f"block {number} is no longer on the node's chain")
    return Block(header.number, header.hash)


async def _check_canonical(node: Node, block: Block) -> None:
    if (await _block(node, block.number)).hash != block.hash:
        raise BlockGone(f"block {block.number} {block.hash} is no longer on the node's chain")
