"""`eth_getLogs` over a range of blocks, split into requests no wider than the node accepts."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from streams.node.blocks import BlockLog
from streams.node.client import Node
from streams.node.errors import HistoryPruned, NodeUnavailable, RateLimited, RpcError

log = logging.getLogger(__name__)

FIRST_WIDTH = 2_000
MAX_WIDTH = 1_000_000
LARGE_ANSWER_LOGS = 5_000
"""An answer with more logs narrows the next range."""

LogQuery = Mapping[str, Any]
"""The filter of `eth_getLogs` without its blocks."""


class LogsRefused(Exception):
    """The node refuses the logs of even a single block."""


class RangeWidth(msgspec.Struct):
    """How many blocks one request spans: doubled until the node first refuses, then grown by a quarter."""

    blocks: int = FIRST_WIDTH
    was_refused: bool = False

    def on_success(self, blocks: int, logs: int) -> None:
        if logs > LARGE_ANSWER_LOGS:
            self.blocks = max(1, blocks // 2)
        elif blocks >= self.blocks:
            self.blocks = min(MAX_WIDTH, self.blocks * 5 // 4 + 1 if self.was_refused else 2 * self.blocks)

    def on_refusal(self, blocks: int) -> None:
        self.was_refused = True
        self.blocks = max(1, min(self.blocks, blocks) // 2)


async def logs_in_ranges(
    node: Node, query: LogQuery, first: int, last: int, width: RangeWidth
) -> AsyncIterator[list[BlockLog]]:
    """The logs of blocks `first` to `last`, in order. Raises LogsRefused, HistoryPruned, NodeUnavailable."""
    while first <= last:
        end = min(first + width.blocks - 1, last)
        logs = await logs_in_range(node, query, first, end, width)
        if logs is not None:
            yield logs
            first = end + 1


async def logs_in_range(node: Node, query: LogQuery, first: int, last: int, width: RangeWidth) -> list[BlockLog] | None:
    """None where the node refuses so wide a range; `width` is then narrower.

    Raises LogsRefused, HistoryPruned, NodeUnavailable.
    """
    try:
        logs = await node.logs_in_range(query, first, last)
    except (RateLimited, HistoryPruned):
        raise
    except (RpcError, NodeUnavailable) as error:
        await node.header("latest")
        _narrow(error, first, last, width)
        return None
    width.on_success(last - first + 1, len(logs))
    return logs


def _narrow(error: Exception, first: int, last: int, width: RangeWidth) -> None:
    if first == last:
        raise LogsRefused(f"the node refuses the logs of block {first}: {error}") from error
    width.on_refusal(last - first + 1)
    log.debug("the node refuses the logs of %d blocks at once (%s), trying %d", last - first + 1, error, width.blocks)
