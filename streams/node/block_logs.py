"""Reads the logs of one block that can change a pool, and asks for none where the header's bloom filter rules them out.

Some chains send zeros for `logsBloom`, whatever the block's logs are. So a bloom counts only after the node has given
one that contains its own logs, never again after one that does not, and zeros only for a block that ran nothing.
"""

import logging
from collections.abc import Iterable

from protocols.decoding import TOPICS
from protocols.types import Log
from streams.node.blocks import NodeHeader
from streams.node.blooms import has_all, may_have
from streams.node.client import Node
from streams.node.metrics import BLOCKS_WITHOUT_LOGS

log = logging.getLogger(__name__)


class BlockLogs:
    """`topics`: every topic0 of interest."""

    def __init__(self, node: Node, topics: Iterable[bytes] = TOPICS) -> None:
        self._node = node
        self._topics = frozenset(topics)
        self._is_proven = False
        self._is_contradicted = False

    async def read(self, header: NodeHeader, *, is_expected: bool = False) -> list[Log]:
        """At least the logs with a topic of interest, in log order. Asks in any case where logs are expected.

        Raises NodeUnavailable, and RpcError for a block that the node does not know.
        """
        return await self._read(header, sorted(self._topics), is_expected=is_expected)

    async def read_all(self, header: NodeHeader) -> list[Log]:
        """All logs of the block if one with a topic of interest can be among them, else none. Raises as `read`."""
        return await self._read(header, None, is_expected=False)

    async def _read(self, header: NodeHeader, topics: list[bytes] | None, *, is_expected: bool) -> list[Log]:
        if not is_expected and self._rules_out(header):
            BLOCKS_WITHOUT_LOGS.inc()
            return []
        logs = await self._node.logs(header.hash, topics)
        self._compare(header, logs)
        return logs

    def _rules_out(self, header: NodeHeader) -> bool:
        if not self._is_proven or self._is_contradicted or header.bloom is None:
            return False
        if header.bloom == 0:
            return header.is_empty
        return not may_have(header.bloom, self._topics)

    def _compare(self, header: NodeHeader, logs: Iterable[Log]) -> None:
        """Of the logs of interest only: a few chains leave logs of the system itself out of their blooms."""
        found = {log.topics[0] for log in logs if log.topics} & self._topics
        if not found or header.bloom is None:
            return
        if has_all(header.bloom, found):
            self._is_proven = True
        elif not self._is_contradicted:
            self._is_contradicted = True
            log.warning(
                "block %d has logs that its bloom filter does not have; from now on the logs of every block are read",
                header.number,
            )
