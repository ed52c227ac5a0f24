"""Follows the node's chain onto the topic: the one path by which blocks are published, live and after a loss.

The node decides about every block. A block is read from it by number, accepted only if its parent is the block
published last, and its logs are read by its hash. Where the parent differs, the chain was reorganised: the topic goes
back to the highest common block and on from there. So it can start anywhere, and the chain may change meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from protocols.types import Block
from streams.bridge.block import CompleteBlock, headers_match
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.node_retry import LONGEST_DELAY_S, BlockUnknown, ChainChanged, NodeRetry, is_refusal
from streams.bridge.published_chain import PublishedChain
from streams.exex.steps import AssembledBlock, AssembledReorg
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import HistoryPruned, NodeUnavailable, RpcError
from streams.retry import Retries

log = logging.getLogger(__name__)

REORG_POLL_S = 0.02


class Limits(NamedTuple):
    refusal_timeout_s: float
    """A node that answers, but refuses a block for so long, does not have it."""
    gap_blocks: int
    """More missing blocks are not read from the node."""
    reorg_timeout_s: float
    """Time for the node to follow a reorg that the feed sent."""


class HeadRefused(Exception):
    """The node refuses a block, and does not even answer for its head."""

    def __init__(self, refusal: Exception | None) -> None:
        super().__init__(f"the node refuses its head too, so no block is given up: {refusal}")


class BlockSource(Protocol):
    async def read(self, header: NodeHeader, fed: AssembledBlock | None) -> CompleteBlock: ...


class ChainFollower:
    """`has_more_steps`: whether the feed sent more than the step in hand."""

    def __init__(
        self,
        node: Node,
        blocks: BlockSource,
        publisher: ChainPublisher,
        limits: Limits,
        has_more_steps: Callable[[], bool],
    ) -> None:
        self._node = node
        self._blocks = blocks
        self._publisher = publisher
        self._limits = limits
        self._retry = NodeRetry(limits.refusal_timeout_s, has_more_steps)

    @property
    def _published(self) -> PublishedChain:
        return self._publisher.published

    async def follow_reorg(self, fed: AssembledReorg) -> None:
        tip = fed.blocks[-1] if fed.blocks else None
        target = fed.ancestor if tip is None else tip.number
        error = await self._complete(lambda: self._rewind_replaced_head(tip, target))
        if is_refusal(error):
            reason = f"a reorg to block {target} could not be followed: {error}"
            return await self._publish_gap(fed.ancestor + 1, max(target, self._published.last or 0), reason)
        await self.catch_up(target, tip)

    async def catch_up(self, target: int, fed: AssembledBlock | None = None) -> None:
        """Publishes the node's chain up to the target, or checks that a published target is still on that chain.

        What a node that answers refuses to give becomes a Gap; a node that does not answer is waited for.
        `fed`: the target block as the feed sent it.
        """
        error = await self.advance(target, fed)
        if error is None:
            return
        if not is_refusal(error) or self._published.last is None or self._published.last >= target:
            log.error("block %d could not be checked: %s", target, error)
        else:
            await self._publish_gap(self._published.last + 1, target, _reason(error))

    async def advance(self, target: int, fed: AssembledBlock | None = None) -> Exception | None:
        """As `catch_up`, but what the node refuses to give is returned, and no Gap is published for it."""
        return await self._complete(lambda: self._advance(target, fed))

    async def _publish_gap(self, first: int, last: int, reason: str) -> None:
        """The feed's numbers are not verified here, so they count only near the last published block."""
        known, most = self._published.last, self._limits.gap_blocks
        if known is None or not known - most <= first <= known + 1 or not known <= last <= known + most:
            log.error("the feed sent blocks %d to %d, the topic ends at %s: %s", first, last, known, reason)
        else:
            await self._publisher.publish_gap(first, last, reason)

    async def _complete(self, step: Callable[[], Awaitable[bool]]) -> Exception | None:
        """The error is final: a node that refuses a block counts only if it answers for its head."""
        retries = Retries("The node's head", HeadRefused, wait_max_s=LONGEST_DELAY_S)
        async for attempt in retries:
            with attempt:
                error = await self._retry.complete(step)
                if is_refusal(error) and not await self._answers_for_its_head():
                    raise HeadRefused(error)
        return error

    async def _answers_for_its_head(self) -> bool:
        try:
            return await self._node.header("latest") is not None
        except (NodeUnavailable, RpcError):
            return False

    async def _advance(self, target: int, fed: AssembledBlock | None) -> bool:
        """One stride towards the target; True when it is reached."""
        published = self._published
        if published.last is not None and published.last >= target:
            return await self._check_published(target)
        first = target if published.last is None else published.last + 1
        if target - first > self._limits.gap_blocks:
            await self._header(target)  # a number does not count before the node has the block
            reason = f"more than {self._limits.gap_blocks} blocks were missed"
            await self._publisher.publish_gap(first, target - 1, reason)
            return False
        headers = await self._headers(range(first, min(target, first + self._retry.stride - 1) + 1))
        if published.head is not None and headers[0].parent != published.head.hash:
            await self._rewind(target)
            return False
        await self._publish(await asyncio.gather(*(self._blocks.read(header, fed) for header in headers)))
        return published.last == target

    async def _check_published(self, number: int) -> bool:
        """True if the published block is on the node's chain; if not, the topic is rewound."""
        published, header = self._published.at(number), await self._header(number)
        if published is None:
            return await self._check_gap_end(number)
        if published.hash == header.hash:
            return True
        await self._rewind(number)
        return False

    async def _check_gap_end(self, number: int) -> bool:
        """False where a gap reached beyond the chain: then it ends before this block."""
        last = self._published.last
        head = await self._node.header("latest")
        if last is not None and self._published.head is None and head is not None and head.number <= last:
            self._published.skip(number, number - 1)
            return False
        log.warning(
            "block %d of the feed is not checked: it is far behind block %s, the last that was published", number, last
        )
        return True

    async def _rewind_replaced_head(self, tip: AssembledBlock | None, target: int) -> bool:
        """The feed sent a reorg: if it replaces the head, the topic is rewound, even if no block takes its place yet.

        A node that still has our head may lag behind its feed, so it is asked again for a while.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._limits.reorg_timeout_s
        while (head := self._published.head) is not None:
            header = await self._node.header(head.number)
            if header is None or header.hash != head.hash:
                await self._rewind(target)
                break
            if loop.time() > deadline_s or (tip is not None and await self._has_block(tip)):
                break
            await asyncio.sleep(REORG_POLL_S)
        return True

    async def _has_block(self, tip: AssembledBlock) -> bool:
        header = await self._node.header(tip.number)
        return header is not None and headers_match(header, tip)

    async def _rewind(self, target: int) -> None:
        head, ancestor = self._published.head, await self._ancestor()
        if ancestor is None:
            latest = await self._node.header("latest")
            last = target - 1 if latest is None else min(target, latest.number) - 1
            reason = f"a reorg deeper than the {len(self._published)} blocks remembered"
            return await self._publisher.publish_gap(min(self._published.oldest or 0, last), last, reason)
        if ancestor == head:
            raise ChainChanged(f"the node's chain changed at block {ancestor.number} while it was read")
        await self._publisher.publish_reorg(ancestor, head)

    async def _ancestor(self) -> Block | None:
        """The highest published block that is on the node's chain; None: none of those remembered is."""
        published = list(self._published.descending())
        header: NodeHeader | None = None
        for start in range(0, len(published), self._retry.stride):
            blocks = published[start : start + self._retry.stride]
            headers = await asyncio.gather(*(self._node.header(block.number) for block in blocks))
            for block, header in zip(blocks, headers, strict=True):
                if header is not None and header.hash == block.hash:
                    return block
        if published and header is None:
            raise BlockUnknown(
                f"the node is on another chain and does not know block {published[-1].number} yet, the oldest that the "
                "topic is known to have; if the chain was started afresh, give it another ARENA_CHAIN"
            )
        return None

    async def _headers(self, numbers: range) -> list[NodeHeader]:
        headers = await asyncio.gather(*(self._header(number) for number in numbers))
        for parent, child in pairwise(headers):
            if child.parent != parent.hash:
                raise ChainChanged(f"the node's chain changed at block {child.number} while it was read")
        return headers

    async def _header(self, number: int) -> NodeHeader:
        header = await self._node.header(number)
        if header is None:
            raise BlockUnknown(f"the node does not know block {number}")
        return header

    async def _publish(self, blocks: Sequence[CompleteBlock]) -> None:
        await self._publisher.publish_blocks(blocks)
        if len(blocks) > 1:
            log.info("blocks %d to %d come from the node", blocks[0].header.number, blocks[-1].header.number)


def _reason(error: Exception | None) -> str:
    if isinstance(error, HistoryPruned):
        return f"the node has dropped this part of its history: {error}"
    return str(error)
