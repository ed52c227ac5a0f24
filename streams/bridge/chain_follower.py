"""The node's chain onto the topic: the one path by which a block is published, live or to repair a loss.

The node has the last word on every block. A block is taken from it by number, accepted only if its parent is the block
published last, and its logs are read by its hash. Where it does not fit the chain was reorganised: back to the highest
block that both have, and on from there. So the walk can start anywhere, and the chain may change under it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from protocols.types import Block
from streams.bridge.block import ReadBlock, headers_match
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.metrics import NODE_FAILURES
from streams.bridge.published_chain import PublishedChain
from streams.exex.assembly import FedBlock, FedReorg
from streams.node.client import Node, NodeHeader, NodeUnavailable, RpcError

log = logging.getLogger(__name__)

STRIDE = 32
"""Blocks read and published at a time when there are several to get; fewer than a worker can be rewound."""
FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 2.0


class NotYet(Exception):
    """The node does not know a block that is there."""


class Moved(Exception):
    """The node's chain changed while it was read."""


class Limits(NamedTuple):
    patience_s: float
    """With the node, until a block is given up."""
    gap_blocks: int
    """More missing blocks are not read from the node."""
    settling_s: float
    """A node may lag so long behind a feed that tells of a reorg."""


class BlockReader(Protocol):
    async def read(self, header: NodeHeader, fed: FedBlock | None) -> ReadBlock: ...


class Follower:
    def __init__(
        self,
        node: Node,
        reader: BlockReader,
        chain: ChainPublisher,
        limits: Limits,
        is_more_told: Callable[[], bool],
    ) -> None:
        self._node = node
        self._reader = reader
        self._chain = chain
        self._limits = limits
        self._is_more_told = is_more_told

    @property
    def _memory(self) -> PublishedChain:
        return self._chain.memory

    async def block(self, fed: FedBlock) -> None:
        """Publishes up to the block that the feed names; one that is published already must still stand."""
        await self.advance(fed.number, fed)

    async def reorg(self, fed: FedReorg) -> None:
        tip = fed.blocks[-1] if fed.blocks else None
        target = fed.ancestor if tip is None else tip.number
        error = await self._persist(lambda: self._retreat(tip, target))
        if error is not None and not isinstance(error, NotYet):
            reason = f"a reorg to block {target} could not be followed: {error}"
            return await self._give_up(fed.ancestor + 1, max(target, self._memory.last or 0), reason)
        await self.advance(target, tip)

    async def advance(self, target: int, fed: FedBlock | None = None) -> None:
        """Publishes the node's chain up to the target; what the node cannot give in time becomes a Gap."""
        error = await self._persist(lambda: self._step(target, fed))
        if error is None:
            return
        if isinstance(error, NotYet) or self._memory.last is None or self._memory.last >= target:
            log.error("block %d could not be looked at: %s", target, error)
        else:
            await self._give_up(self._memory.last + 1, target, str(error))

    async def _give_up(self, first: int, last: int, reason: str) -> None:
        """Of a node that is away nobody knows its head, so a feed's numbers are believed only near the last block."""
        known, most = self._memory.last, self._limits.gap_blocks
        if known is None or not known - most <= first <= known + 1 or not known <= last <= known + most:
            log.error("the feed speaks of blocks %d to %d, the topic ends at %s: %s", first, last, known, reason)
        else:
            await self._chain.gap(first, last, reason)

    async def _persist(self, step: Callable[[], Awaitable[bool]]) -> Exception | None:
        """Repeats the step until it says that it is done; gives the error if the node gives nothing for too long.

        A block that the node does not know is no loss: it may be of a fork that is gone; if not, a later one names it.
        """
        loop = asyncio.get_running_loop()
        since_s, delay_s, last = loop.time(), FIRST_DELAY_S, self._memory.last
        while True:
            try:
                if await step():
                    return None
            except (NodeUnavailable, RpcError, NotYet, Moved) as error:
                NODE_FAILURES.labels(type(error).__name__).inc()
                if isinstance(error, NotYet) and self._is_more_told():
                    return None
                if loop.time() - since_s > self._limits.patience_s:
                    return error
                log.log(logging.WARNING if delay_s > 1 else logging.DEBUG, "%s; trying again", error)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)
            if self._memory.last != last:
                since_s, delay_s, last = loop.time(), FIRST_DELAY_S, self._memory.last

    async def _step(self, target: int, fed: FedBlock | None) -> bool:
        """One stride towards the target; True when it is reached."""
        memory = self._memory
        if memory.last is not None and memory.last >= target:
            return await self._stands(target)
        first = target if memory.last is None else memory.last + 1
        if target - first > self._limits.gap_blocks:
            await self._header(target)  # a number is not believed before the node has the block
            await self._chain.gap(first, target - 1, f"more than {self._limits.gap_blocks} blocks were missed")
            return False
        headers = await self._headers(range(first, min(target, first + STRIDE - 1) + 1))
        if memory.head is not None and headers[0].parent != memory.head.hash:
            await self._rewind(target)
            return False
        await self._publish(await asyncio.gather(*(self._reader.read(header, fed) for header in headers)))
        return memory.last == target

    async def _stands(self, number: int) -> bool:
        """Whether a block published before is still the node's; if not, it is rewound."""
        published, header = self._memory.at(number), await self._header(number)
        if published is None:
            return await self._is_behind(number)
        if published.hash == header.hash:
            return True
        await self._rewind(number)
        return False

    async def _is_behind(self, number: int) -> bool:
        """False where a gap reached beyond the chain: then it ends before this block."""
        last = self._memory.last
        head = await self._node.header("latest")
        if last is not None and self._memory.head is None and head is not None and head.number <= last:
            self._memory.lose(number, number - 1)
            return False
        log.warning("block %d is far behind block %s, the last that was published", number, last)
        return True

    async def _retreat(self, tip: FedBlock | None, target: int) -> bool:
        """The feed says that blocks are gone: if the head is, it is rewound, even if nothing takes its place yet.

        A node that still has our head may lag behind its feed, so it is asked for a while.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._limits.settling_s
        while (head := self._memory.head) is not None:
            header = await self._node.header(head.number)
            if header is None or header.hash != head.hash:
                await self._rewind(target)
            elif loop.time() > deadline_s or (tip is not None and await self._has(tip)):
                break
            else:
                await asyncio.sleep(FIRST_DELAY_S)
                continue
            break
        return True

    async def _has(self, tip: FedBlock) -> bool:
        header = await self._node.header(tip.number)
        return header is not None and headers_match(header, tip)

    async def _rewind(self, target: int) -> None:
        head, ancestor = self._memory.head, await self._ancestor()
        if ancestor is None:
            latest = await self._node.header("latest")
            last = target - 1 if latest is None else min(target, latest.number) - 1
            reason = f"a reorg deeper than the {len(self._memory)} blocks remembered"
            return await self._chain.gap(min(self._memory.oldest or 0, last), last, reason)
        if ancestor == head:
            raise Moved(f"the node's chain changed at block {ancestor.number} while it was read")
        await self._chain.reorg(ancestor, head)

    async def _ancestor(self) -> Block | None:
        """The highest published block that the node's chain has; None: it has none of those in memory."""
        published = list(self._memory.descending())
        header: NodeHeader | None = None
        for start in range(0, len(published), STRIDE):
            blocks = published[start : start + STRIDE]
            headers = await asyncio.gather(*(self._node.header(block.number) for block in blocks))
            for block, header in zip(blocks, headers, strict=True):
                if header is not None and header.hash == block.hash:
                    return block
        if published and header is None:
            raise NotYet(
                f"the node is on another chain and does not know block {published[-1].number} yet, the oldest that the "
                "topic is known to have; if the chain was started afresh, give it another ARENA_CHAIN"
            )
        return None

    async def _headers(self, numbers: range) -> list[NodeHeader]:
        headers = await asyncio.gather(*(self._header(number) for number in numbers))
        for parent, child in pairwise(headers):
            if child.parent != parent.hash:
                raise Moved(f"the node's chain changed at block {child.number} while it was read")
        return headers

    async def _header(self, number: int) -> NodeHeader:
        header = await self._node.header(number)
        if header is None:
            raise NotYet(f"the node does not know block {number}")
        return header

    async def _publish(self, blocks: Sequence[ReadBlock]) -> None:
        await self._chain.blocks(blocks)
        if len(blocks) > 1:
            log.info("blocks %d to %d come from the node", blocks[0].header.number, blocks[-1].header.number)
