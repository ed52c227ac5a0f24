"""Finds the pools that factories created, range by range, continuing at the last canonical checkpoint.

All factories are in one filter, and several ranges are read at a time. A range counts only if its last block has the
same hash before and after its logs are read, and if the node is proven to serve them. After a reorg the scan goes back
to the last checkpoint whose block is canonical, and drops every pool found after it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial

import msgspec

from protocols.abi import AbiMismatch, FunctionAbi
from protocols.registry import dex_of
from protocols.types import Block, ProtocolName
from streams.node.blocks import BlockLog
from streams.node.client import Node
from streams.node.errors import HistoryPruned
from streams.node.log_ranges import LogQuery, RangeWidth, logs_in_ranges
from streams.node.state.pinned_state import BlockGone
from whitelist.configuration import Factory
from whitelist.pools.factory_events import DiscoveredPool, creation_topic, decode_creation
from whitelist.pools.log_proof import UNSETTLED_BLOCKS, LogsPruned, count_pools, prove_logs
from whitelist.pools.pool_index import PoolIndex

log = logging.getLogger(__name__)

CONCURRENT_RANGES = 4

ScannedRange = tuple[list[BlockLog], Block]
"""The logs, and the range's last block."""

ScanProgress = Callable[[range, int], None]
"""Called with the range of blocks to scan, and the next block of it."""


class PoolsMissing(Exception):
    """The logs have fewer pools than the factory counts."""


class FactoryScanner(msgspec.Struct):
    node: Node
    index: PoolIndex
    progress: ScanProgress
    width: RangeWidth = msgspec.field(default_factory=RangeWidth)

    async def scan(self, factories: Sequence[Factory], head: Block) -> None:
        """Up to and including `head`.

        Raises BlockGone where a reorg replaces it meanwhile, LogsPruned, PoolsMissing, LogsRefused, NodeUnavailable.
        """
        starts = {factory: await self._start(factory) for factory in _distinct(factories)}
        first_blocks = sorted(set(starts.values()))
        for first, stop in zip(first_blocks, [*first_blocks[1:], head.number + 1], strict=True):
            scanned = [factory for factory, start in starts.items() if start <= first]
            await self._scan(scanned, range(first, min(stop, head.number + 1)), head)
        for factory in starts:
            await self._check_found(factory, head)
        await _check_canonical(self.node, head)

    async def _start(self, factory: Factory) -> int:
        """The block to go on from, with everything found after it dropped."""
        self.index.start_factory(factory.address, factory.kind, factory.from_block)
        checkpoint = await _last_canonical(self.node, self.index.checkpoints(factory.address))
        self.index.truncate(factory.address, -1 if checkpoint is None else checkpoint)
        return max(factory.from_block, 0 if checkpoint is None else checkpoint + 1 - UNSETTLED_BLOCKS)

    async def _scan(self, factories: Sequence[Factory], blocks: range, head: Block) -> None:
        async with aclosing(self._ranges(_query(factories), blocks, head)) as ranges:
            async for logs, end in ranges:
                for factory in factories:
                    self.index.add_range(factory.address, _pools(factory.kind, factory.address, logs), end)
                self.progress(blocks, end.number + 1)

    async def _ranges(
        self, query: LogQuery, blocks: range, head: Block
    ) -> AsyncGenerator[tuple[list[BlockLog], Block], None]:
        """In order, though several are read at a time."""
        reading: deque[asyncio.Task[ScannedRange]] = deque()
        first = blocks.start
        try:
            while reading or first < blocks.stop:
                while first < blocks.stop and len(reading) < CONCURRENT_RANGES:
                    last = min(first + self.width.blocks, blocks.stop) - 1
                    reading.append(asyncio.create_task(self._read(query, first, last, head)))
                    first = last + 1
                yield await reading[0]
                reading.popleft()
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, query: LogQuery, first: int, last: int, head: Block) -> ScannedRange:
        end = await _block(self.node, last)
        try:
            parts = [logs async for logs in logs_in_ranges(self.node, query, first, last, self.width)]
        except HistoryPruned as error:
            raise LogsPruned(first, str(error)) from error
        await prove_logs(self.node, first, last, head.number)
        await _check_canonical(self.node, end)
        return [each for logs in parts for each in logs], end

    async def _check_found(self, factory: Factory, head: Block) -> None:
        if counter := dex_of(factory.kind).creation.count:
            await self._check_count(factory, counter, head.number - UNSETTLED_BLOCKS)
        if not self.index.count([factory.address]):
            log.warning(
                "%s created no %s pool in blocks %d to %d: is it a factory of that protocol, on this chain?",
                *(factory.address, factory.kind, factory.from_block, head.number),
            )

    async def _check_count(self, factory: Factory, counter: FunctionAbi, block: int) -> None:
        """Pools before `from_block` are subtracted where the node has that state."""
        count = partial(count_pools, self.node, factory.address, counter)
        if block < factory.from_block or (created := await count(block)) is None:
            return
        before = await count(factory.from_block - 1) if factory.from_block else None
        found = self.index.count([factory.address], up_to=block)
        if found < created - (before or 0):
            self.index.truncate(factory.address, -1)
            raise PoolsMissing(
                f"{factory.address} has {created} pools at block {block}, and the logs from block {factory.from_block} "
                f"on have {found}: either from_block is later than its first pool, or the node does not serve all logs"
            )


def _distinct(factories: Sequence[Factory]) -> list[Factory]:
    """A factory that is named twice counts once, from the earlier block on."""
    return list({each.address: each for each in sorted(factories, key=lambda each: -each.from_block)}.values())


def _query(factories: Sequence[Factory]) -> LogQuery:
    topics = sorted({"0x" + creation_topic(factory.kind).hex() for factory in factories})
    return {"address": [factory.address for factory in factories], "topics": [topics]}


def _pools(protocol: ProtocolName, factory: str, logs: Sequence[BlockLog]) -> list[tuple[int, DiscoveredPool]]:
    pools = []
    for placed in logs:
        if placed.log.address != factory or placed.log.topics[:1] != (creation_topic(protocol),):
            continue
        try:
            pools.append((placed.block, decode_creation(protocol, placed.log)))
        except AbiMismatch as error:
            log.warning(
                "log %d of block %d of %s is not a pool creation: %s",
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
