"""A node's state at one block: every call is pinned to it, in batches as large as the node takes."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from protocols.types import Block
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RateLimited, RpcError, StateMissing
from streams.node.state.capabilities import NodeCapabilities
from streams.node.transport.hex_values import is_hex

log = logging.getLogger(__name__)

LATEST_SETTLES_S = 0.05
ECHO = bytes.fromhex("3660008037366000f3")
"""Returns its calldata, which only a node that honours the override can: CALLDATASIZE PUSH1 0 DUP1 CALLDATACOPY
CALLDATASIZE PUSH1 0 RETURN."""
NO_CODE_ADDRESS = "0x00000000000000000000000000000000a7e4a7e4"
"""An address without code, for trying an override."""

Call = tuple[str, list[Any]]
CallResult = str | RpcError | NodeUnavailable


class BlockGone(Exception):
    """The block is no longer on the node's chain, or its state can no longer be had."""


class StateUnavailable(BlockGone):
    """The node has the block but not its state."""

    def __init__(self, block: Block, answer: object = None) -> None:
        hint = "; full nodes keep that of their last blocks only" if isinstance(answer, StateMissing) else ""
        super().__init__(f"the node does not give the state of block {block.number} {block.hash}: {answer}{hint}")


class PinnedState:
    def __init__(self, node: Node, block: Block, capabilities: NodeCapabilities) -> None:
        self.block = block
        self.capabilities = capabilities
        self._node = node
        self._at: object = {"blockHash": block.hash} if capabilities.by_hash else hex(block.number)

    def call(self, to: str, data: bytes, code: bytes | None = None) -> Call:
        """With `code`, that runs in place of the contract's own."""
        params: list[Any] = [{"to": to, "data": "0x" + data.hex()}, self._at]
        return "eth_call", params if code is None else [*params, {to: {"code": "0x" + code.hex()}}]

    def storage(self, address: str, slot: int) -> Call:
        return "eth_getStorageAt", [address, hex(slot), self._at]

    def balance(self, address: str) -> Call:
        """Of the native coin, as a hex quantity."""
        return "eth_getBalance", [address, self._at]

    def code(self, address: str) -> Call:
        return "eth_getCode", [address, self._at]

    async def batch(self, calls: Sequence[Call]) -> list[CallResult]:
        """In order. A request that alone is too much for the node is answered by its error.

        Raises NodeUnavailable for a node that answers nothing, RateLimited for one that wants fewer requests.
        """
        results: list[CallResult] = []
        while len(results) < len(calls):
            chunk = calls[len(results) : len(results) + self.capabilities.batch_calls]
            try:
                answered = await self._node.batch(chunk)
            except (RpcError, NodeUnavailable) as error:
                if isinstance(error, RateLimited):
                    raise
                await self._node.header("latest")
                if len(chunk) == 1:
                    results.append(error)
                else:
                    self.capabilities.batch_failed(len(chunk), refused=isinstance(error, RpcError))
                    log.info("%d calls are too much for the node (%s), trying %d", len(chunk), error, len(chunk) // 2)
            else:
                self.capabilities.batch_worked(len(chunk))
                results += [self._hex_result(result) for result in answered]
        return results

    async def has_shifted(self) -> bool:
        """Whether what was just read may be of a later block. Read again it is not: the block is not the newest now."""
        if not self.capabilities.latest_shifts:
            return False
        await asyncio.sleep(LATEST_SETTLES_S)
        newest = await self._node.header("latest")
        return newest is not None and newest.number > self.block.number

    async def check_state(self) -> None:
        """Raises BlockGone, or StateUnavailable where the node refuses every read of its state."""
        await self.check_chain()
        answer = await self.probe()
        if answer is not None:
            raise StateUnavailable(self.block, answer)

    async def check_chain(self) -> None:
        """Raises BlockGone where another block has the number now."""
        header = await self._node.header(self.block.number)
        if header is None or header.hash != self.block.hash:
            raise BlockGone(f"block {self.block.number} {self.block.hash} is no longer on the node's chain")

    async def probe(self) -> CallResult | None:
        """None where the node can do what its capabilities say; else its answer. Raises NodeUnavailable."""
        call = self.code(NO_CODE_ADDRESS)
        if self.capabilities.overrides:
            call = self.call(NO_CODE_ADDRESS, secrets.token_bytes(32), ECHO)
        (answer,) = await self.batch([call])
        if isinstance(answer, NodeUnavailable):
            raise answer
        expected = call[1][0]["data"] if self.capabilities.overrides else "0x"
        return None if answer == expected else answer

    def _hex_result(self, result: object) -> CallResult:
        if isinstance(result, RpcError):
            return result
        if isinstance(result, str) and is_hex(result):
            return result
        return RpcError(0, f"the node's answer is no hex string: {self._node.rpc.scrub(str(result)[:100])}")
