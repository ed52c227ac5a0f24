"""What a node says of its chain beside blocks: its id, and which blocks are safe and finalized."""

import asyncio
import logging
from typing import Any

import msgspec

from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError

log = logging.getLogger(__name__)

TAGS = ("safe", "finalized")
ASK_EVERY_S = 1.0


class ChainFacts(msgspec.Struct, frozen=True):
    """None: the node does not say, or has not been asked yet."""

    safe: int | None = None
    finalized: int | None = None
    chain_id: int | None = None


NO_FACTS = ChainFacts()


class ChainFactsReader:
    """Asks after a block, beside the work on blocks and at most once in ASK_EVERY_S: one request for both tags."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._block = asyncio.Event()
        self.facts = NO_FACTS

    def ask_soon(self) -> None:
        """A block has come."""
        self._block.set()

    async def run(self) -> None:
        """For ever. Raises WrongChain."""
        while True:
            self._block.clear()
            try:
                self.facts = await self._read()
            except (NodeUnavailable, RpcError) as error:
                log.warning("the node does not say which blocks are safe and finalized: %s", error)
            await asyncio.sleep(ASK_EVERY_S)
            await self._block.wait()

    async def _read(self) -> ChainFacts:
        answers = await self._node.batch([("eth_getBlockByNumber", [tag, False]) for tag in TAGS])
        safe, finalized = (self._number(answer) for answer in answers)
        return ChainFacts(safe, finalized, await self._node.chain_id())

    def _number(self, block: Any) -> int | None:
        """None where the node knows no such tag, as before the merge."""
        return None if block is None or isinstance(block, RpcError) else self._node.read_header(block).number
