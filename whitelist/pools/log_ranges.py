"""Logs of a range of blocks, in as many requests as the node needs, each as wide as it takes."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from streams.node.blocks import BlockLog
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.rate_limits import is_rate_limited, with_rate_limit_retry

log = logging.getLogger(__name__)

FIRST_WIDTH = 2_000
WIDEST = 1_000_000
MANY_LOGS = 5_000
"""An answer with more is large enough."""

Question = Mapping[str, Any]
"""What `eth_getLogs` takes, without the blocks."""


class LogsRefused(Exception):
    """The node does not even tell one block's logs."""


class Width(msgspec.Struct):
    """How many blocks the node takes in one request; doubled until it first refuses, then grown with care."""

    blocks: int = FIRST_WIDTH
    was_refused: bool = False

    def worked(self, blocks: int, logs: int) -> None:
        if logs > MANY_LOGS:
            self.blocks = max(1, blocks // 2)
        elif blocks >= self.blocks:
            self.blocks = min(WIDEST, self.blocks * 5 // 4 + 1 if self.was_refused else 2 * self.blocks)

    def refused(self, blocks: int) -> None:
        self.was_refused = True
        self.blocks = max(1, min(self.blocks, blocks) // 2)


async def logs_within(
    node: Node, question: Question, first: int, last: int, width: Width
) -> AsyncIterator[list[BlockLog]]:
    """The logs of blocks first to last, in order. Raises LogsRefused, NodeUnavailable."""
    while first <= last:
        end = min(first + width.blocks - 1, last)
        found = await ask(node, question, first, end, width)
        if found is not None:
            yield found
            first = end + 1


async def ask(node: Node, question: Question, first: int, last: int, width: Width) -> list[BlockLog] | None:
    """None where the range is too wide; `width` is less then. Raises LogsRefused, NodeUnavailable for a silent node."""
    return await with_rate_limit_retry(lambda: _ask(node, question, first, last, width))


async def _ask(node: Node, question: Question, first: int, last: int, width: Width) -> list[BlockLog] | None:
    try:
        found = await node.logs_in_range(question, first, last)
    except (RpcError, NodeUnavailable) as error:
        if is_rate_limited(error):
            raise
        await node.header("latest")
        _narrow(error, first, last, width)
        return None
    width.worked(last - first + 1, len(found))
    return found


def _narrow(error: Exception, first: int, last: int, width: Width) -> None:
    if first == last:
        raise LogsRefused(f"the node does not tell the logs of block {first}: {error}") from error
    width.refused(last - first + 1)
    log.debug("Logs of %d blocks are too much for the node (%s), trying %d", last - first + 1, error, width.blocks)
