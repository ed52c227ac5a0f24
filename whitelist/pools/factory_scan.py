"""Finds the pools that factories created, range by range, going on where the last scan ended on the same chain.

A range counts only if its last block has the same hash before and after its logs are read; a checkpoint whose block
has been replaced is forgotten, with every pool after the last one that still stands.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from protocols.abi import AbiMismatch
from protocols.types import Block, ProtocolName
from streams.node.blocks import BlockLog
from streams.node.client import Node
from streams.node.pinned_state import BlockGone
from streams.node.rate_limits import with_rate_limit_retry
from whitelist.configuration import Factory
from whitelist.pools.factory_events import DECLARED, DiscoveredPool, created
from whitelist.pools.log_ranges import Width, ask
from whitelist.pools.pool_index import PoolIndex

log = logging.getLogger(__name__)

UNSETTLED_BLOCKS = 64
"""So many are looked at again: a node may have had a block and not its logs yet, and said that there are none."""

Progress = Callable[[str, range, int], None]
"""Called with a factory, the blocks of it that are to be scanned, and the one that comes next."""


class Scanner(msgspec.Struct):
    node: Node
    found: PoolIndex
    progress: Progress
    width: Width = msgspec.field(default_factory=Width)

    async def scan(self, factories: Sequence[Factory], head: Block) -> None:
        """Up to and with `head`. Raises BlockGone where that is replaced meanwhile, LogsRefused, NodeUnavailable."""
        for factory in factories:
            self.found.begin(factory.address, factory.kind, factory.from_block)
            stands = await _still_stands(self.node, self.found.scanned(factory.address))
            self.found.forget_after(factory.address, -1 if stands is None else stands)
            first = factory.from_block if stands is None else stands + 1 - UNSETTLED_BLOCKS
            await self._scan(factory, range(max(first, factory.from_block), head.number + 1))
            if not self.found.count([factory.address]):
                log.warning(
                    "%s created no %s pool in blocks %d to %d: is it such a factory, and on this chain?",
                    *(factory.address, factory.kind, factory.from_block, head.number),
                )
        await _expect(self.node, head)

    async def _scan(self, factory: Factory, blocks: range) -> None:
        question = {"address": factory.address, "topics": ["0x" + DECLARED[factory.kind].topic0.hex()]}
        at = blocks.start
        while at < blocks.stop:
            self.progress(factory.address, blocks, at)
            end = await _block(self.node, min(at + self.width.blocks, blocks.stop) - 1)
            logs = await ask(self.node, question, at, end.number, self.width)
            if logs is None:
                continue
            await _expect(self.node, end)
            self.found.add(factory.address, _pools(factory.kind, factory.address, logs), end)
            at = end.number + 1
        self.progress(factory.address, blocks, blocks.stop)


def _pools(protocol: ProtocolName, factory: str, logs: Sequence[BlockLog]) -> list[tuple[int, DiscoveredPool]]:
    pools = []
    for placed in logs:
        if placed.log.address != factory or placed.log.topics[:1] != (DECLARED[protocol].topic0,):
            continue
        try:
            pools.append((placed.block, created(protocol, placed.log)))
        except AbiMismatch as error:
            log.warning(
                "Log %d of block %d of %s creates no pool: %s", placed.log.log_index, placed.block, factory, error
            )
    return pools


async def _still_stands(node: Node, checkpoints: Sequence[Block]) -> int | None:
    """The last checkpoint that is on the node's chain; what is before one that is, is too."""
    low, high = 0, len(checkpoints)
    while low < high:
        # most often it is the very last one
        middle = high - 1 if high == len(checkpoints) else (low + high) // 2
        checkpoint = checkpoints[middle]
        header = await with_rate_limit_retry(partial(node.header, checkpoint.number))
        if header is not None and header.hash == checkpoint.hash:
            low = middle + 1
        else:
            high = middle
    return checkpoints[low - 1].number if low else None


async def _block(node: Node, number: int) -> Block:
    header = await with_rate_limit_retry(lambda: node.header(number))
    if header is None:
        raise BlockGone(f"block {number} is no longer on the node's chain")
    return Block(header.number, header.hash)


async def _expect(node: Node, block: Block) -> None:
    if (await _block(node, block.number)).hash != block.hash:
        raise BlockGone(f"block {block.number} {block.hash} is no longer on the node's chain")
