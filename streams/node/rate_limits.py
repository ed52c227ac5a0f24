"""Waiting for a node that asks for patience: it answers, only not as fast as it is asked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams.node.errors import NodeUnavailable, RpcError
from streams.node.pinned_state import TOO_FAST

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES = 8
FIRST_PAUSE_S = 0.5
"""The next ones are twice as long each."""


async def with_rate_limit_retry(ask: Callable[[], Awaitable[T]]) -> T:
    """Raises NodeUnavailable for a node that asks for patience again and again, and what `ask` raises."""
    for number in range(TRIES):
        try:
            return await ask()
        except (RpcError, NodeUnavailable) as error:
            if not is_rate_limited(error):
                raise
            last = error
        pause_s = FIRST_PAUSE_S * 2**number
        log.info("The node asks for patience (%s); waiting %.1f s", last, pause_s)
        await asyncio.sleep(pause_s)
    raise NodeUnavailable(f"the node asked for patience {TRIES} times in a row, last with: {last}") from last


def is_rate_limited(error: RpcError | NodeUnavailable) -> bool:
    return any(word in str(error).lower() for word in TOO_FAST)
