"""Polls a node for its newest head, paced by the chain's block time."""

import asyncio
from collections.abc import AsyncGenerator

from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.transport.hex_values import counter
from streams.retry import Retries

POLLS_PER_BLOCK = 20
SHORTEST_POLL_S = 0.05
LONGEST_POLL_S = 1.0
LARGEST_BLOCK_TIME_S = 60.0
"""Longer measurements are ignored: a development chain mines on demand."""
NEWEST = 0.25
"""The weight of the newest measurement in the block time."""
WAIT_MAX_S = 3.0


class HeadPoller:
    """Most polls are an `eth_blockNumber`; the header is read when the number changes and once in a block time."""

    def __init__(self, node: Node, block_time_s: float = 1.0) -> None:
        self._node = node
        self._block_time_s = block_time_s
        self._read_header_at_s = 0.0
        failures = (NodeUnavailable, RpcError)
        self._retries = Retries("The node", failures, wait_initial_s=SHORTEST_POLL_S, wait_max_s=WAIT_MAX_S)

    @property
    def interval_s(self) -> float:
        return max(SHORTEST_POLL_S, min(self._block_time_s / POLLS_PER_BLOCK, LONGEST_POLL_S))

    async def poll(self, last: NodeHeader | None, duration_s: float) -> AsyncGenerator[NodeHeader, None]:
        """Each new head; retries with backoff while the node is unavailable."""
        end_s = _now_s() + duration_s
        while _now_s() < end_s:
            async for attempt in self._retries:
                with attempt:
                    head = await self.newer_head(last)
                    self._retries.reset()
            if head is not None:
                self.learn_block_time(last, head)
                last = head
                yield head
            await asyncio.sleep(min(self.interval_s, max(0.0, end_s - _now_s())))

    async def newer_head(self, last: NodeHeader | None) -> NodeHeader | None:
        """The newest head if it is not `last`. Finds a reorg to the same number after a block time at the latest.

        Raises NodeUnavailable, RpcError.
        """
        if last is not None and _now_s() < self._read_header_at_s and await self._number() == last.number:
            return None
        head = await self.latest()
        return None if head is None or (last is not None and head.hash == last.hash) else head

    async def chain_id(self) -> int:
        """Raises NodeUnavailable, RpcError, WrongChain."""
        return await self._node.chain_id()

    async def latest(self) -> NodeHeader | None:
        """Raises NodeUnavailable, RpcError."""
        head = await self._node.header("latest")
        self._read_header_at_s = _now_s() + self._block_time_s
        return head

    def learn_block_time(self, last: NodeHeader | None, head: NodeHeader) -> None:
        if last is None or head.number <= last.number:
            return
        measured_s = (head.timestamp - last.timestamp) / (head.number - last.number)
        if 0 <= measured_s <= LARGEST_BLOCK_TIME_S:
            self._block_time_s += NEWEST * (measured_s - self._block_time_s)

    async def _number(self) -> int:
        answer = await self._node.call("eth_blockNumber", [])
        try:
            return counter(answer)
        except ValueError as error:
            raise NodeUnavailable(f"{self._node.rpc} gave a block number that cannot be read: {error}") from error


def _now_s() -> float:
    return asyncio.get_running_loop().time()
