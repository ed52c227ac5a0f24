"""Repeats a step of the chain follower while the node is away, unsure, or refuses; decides when a refusal is final."""

import asyncio
from collections.abc import Awaitable, Callable

from streams.bridge.metrics import NODE_AWAY, NODE_FAILURES
from streams.node.errors import HistoryPruned, NodeUnavailable, RpcError, UnusableAnswer
from streams.retry import Retries

LONGEST_STRIDE = 32
"""Blocks read and published at a time when several are missing; fewer than a worker can be rewound."""
FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 2.0
QUIET_S = 2.0
"""A feed is often a moment ahead of its node: only what takes longer is a warning."""


class BlockUnknown(Exception):
    """The node does not know a block that the feed sent."""


class ChainChanged(Exception):
    """The node's chain changed while it was read."""


class NodeRetry:
    """`has_more_steps`: whether the feed sent more than the step in hand."""

    def __init__(self, refusal_timeout_s: float, has_more_steps: Callable[[], bool]) -> None:
        self._refusal_timeout_s = refusal_timeout_s
        self._has_more_steps = has_more_steps
        self._refusing_since_s = 0.0
        self.stride = LONGEST_STRIDE
        """Smaller after a failure: of a provider that drops one request in five, no long stride comes whole."""

    async def complete(self, step: Callable[[], Awaitable[bool]]) -> Exception | None:
        """Repeats the step until it returns True; returns the error that the node answers with for too long.

        A block that the node does not know is no loss: it may be of a fork that is gone; if not, a later one names it.
        A node that does not answer, or only asks for fewer requests, is waited for without end. What it says that it
        has dropped is not asked for again.
        """
        retries = Retries(
            "The node",
            self._is_retried,
            wait_initial_s=FIRST_DELAY_S,
            wait_max_s=LONGEST_DELAY_S,
            quiet_s=QUIET_S,
        )
        self._refusing_since_s = asyncio.get_running_loop().time()
        try:
            async for attempt in retries:
                with attempt:
                    while not await step():
                        self._succeed()
                        retries.reset()
                    self._succeed()
        except (NodeUnavailable, RpcError, BlockUnknown, ChainChanged) as error:
            return None if self._is_overtaken(error) else error
        return None

    def _succeed(self) -> None:
        self._refusing_since_s = asyncio.get_running_loop().time()
        self.stride = min(LONGEST_STRIDE, 2 * self.stride)
        NODE_AWAY.set(0)

    def _is_retried(self, error: Exception) -> bool:
        if not isinstance(error, NodeUnavailable | RpcError | BlockUnknown | ChainChanged):
            return False
        NODE_FAILURES.labels(type(error).__name__).inc()
        self.stride = max(1, self.stride // 4)
        now_s = asyncio.get_running_loop().time()
        NODE_AWAY.set(is_away(error))
        if is_away(error):
            self._refusing_since_s = now_s
            return True
        if isinstance(error, HistoryPruned):
            return False
        return not self._is_overtaken(error) and now_s - self._refusing_since_s <= self._refusal_timeout_s

    def _is_overtaken(self, error: Exception) -> bool:
        """The feed has moved on: its next step names the block that counts."""
        return isinstance(error, BlockUnknown) and self._has_more_steps()


def is_away(error: Exception) -> bool:
    """No answer, or only the request to ask less often: it says nothing about the block."""
    return isinstance(error, NodeUnavailable) and not isinstance(error, UnusableAnswer)


def is_refusal(error: Exception | None) -> bool:
    """The node answers, and does not give the block."""
    return isinstance(error, RpcError | UnusableAnswer)
