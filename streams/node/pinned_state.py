"""A node's state at one block: every request is pinned to it, in requests as large as the node takes."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from protocols.types import Block
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError

log = logging.getLogger(__name__)

MAX_BATCH_CALLS = 400
MAX_WORDS_PER_CALL = 8192
MAX_MULTICALL_CALLS = 500
MIN_WORDS_PER_CALL = 64
LATEST_SETTLES_S = 0.05
ECHO = bytes.fromhex("3660008037366000f3")
"""Returns its calldata, which only a node that honours the override can: CALLDATASIZE PUSH1 0 DUP1 CALLDATACOPY
CALLDATASIZE PUSH1 0 RETURN."""
NO_CODE_ADDRESS = "0x00000000000000000000000000000000a7e4a7e4"
"""An address without code, for trying an override."""
UNREACHED_BLOCK = 2**48
"""A block number that no chain reaches."""
TOO_FAST = ("rate limit", "too many requests", "request count exceeded", "http 429")
"""What nodes say to who should wait; of other limits they speak too, and there smaller requests help."""

Call = tuple[str, list[Any]]
CallResult = str | RpcError | NodeUnavailable


class BlockGone(Exception):
    """The block is no longer on the node's chain, or its state can no longer be had."""


class StateUnavailable(BlockGone):
    """The node has the block and does not tell its state."""

    def __init__(self, block: Block, answer: object = None) -> None:
        super().__init__(f"the node does not tell the state of block {block.number} {block.hash}: {answer}")


class NodeCapabilities(msgspec.Struct):
    """What a node has shown it can do. It is found out once and corrected by what it refuses."""

    overrides: bool
    by_hash: bool
    """Takes a block hash where a block is asked for (EIP-1898)."""
    batch_calls: int = MAX_BATCH_CALLS
    """Per request."""
    max_batch_calls: int = MAX_BATCH_CALLS
    latest_shifts: bool = False
    """anvil reads its newest block from live state: a block that is mined meanwhile shows through, hash or not."""
    words_per_call: int = MAX_WORDS_PER_CALL
    """Bitmap words per run of the reading program."""
    multicall_calls: int = MAX_MULTICALL_CALLS
    """Calls per run of the multicall program."""

    def multicall_failed(self, calls: int) -> None:
        self.multicall_calls = max(1, min(self.multicall_calls, calls // 2))

    def multicall_worked(self) -> None:
        """It may have been a block that was gone that made the limit small."""
        self.multicall_calls = min(MAX_MULTICALL_CALLS, self.multicall_calls * 5 // 4 + 1)

    def words_failed(self, words: int) -> None:
        self.words_per_call = max(MIN_WORDS_PER_CALL, min(self.words_per_call, words // 2))

    def words_worked(self, words: int) -> None:
        """A dense pool made the limit small; sparse ones may widen it again."""
        if words == self.words_per_call:
            self.words_per_call = min(MAX_WORDS_PER_CALL, self.words_per_call * 5 // 4)

    def batch_failed(self, calls: int, refused: bool) -> None:
        """Refused for their number: that is not tried again. Otherwise they took too long, or were too large."""
        self.batch_calls = max(1, min(self.batch_calls, calls // 2))
        if refused:
            self.max_batch_calls = self.batch_calls

    def batch_worked(self, calls: int) -> None:
        if calls == self.batch_calls:
            self.batch_calls = min(self.max_batch_calls, self.batch_calls * 5 // 4 + 1)


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

    def code(self, address: str) -> Call:
        return "eth_getCode", [address, self._at]

    async def batch(self, calls: Sequence[Call]) -> list[CallResult]:
        """In order. A request that alone is too much for the node is answered by its error.

        Raises NodeUnavailable for a node that answers nothing, or asks for patience.
        """
        results: list[CallResult] = []
        while len(results) < len(calls):
            chunk = calls[len(results) : len(results) + self.capabilities.batch_calls]
            try:
                answered = await self._node.batch(chunk)
            except (RpcError, NodeUnavailable) as error:
                await self._node.header("latest")
                if _is_impatience(error):
                    raise NodeUnavailable(str(error)) from error
                if len(chunk) == 1:
                    results.append(error)
                else:
                    self.capabilities.batch_failed(len(chunk), refused=isinstance(error, RpcError))
                    log.info("%d calls are too much for the node (%s), trying %d", len(chunk), error, len(chunk) // 2)
            else:
                if impatience := next(filter(_is_impatience, answered), None):
                    raise NodeUnavailable(str(impatience))
                self.capabilities.batch_worked(len(chunk))
                results += [_hex_result(result) for result in answered]
        return results

    async def has_shifted(self) -> bool:
        """Whether what was just read may be of a later block. Read again it is not: the block is not the newest now."""
        if not self.capabilities.latest_shifts:
            return False
        await asyncio.sleep(LATEST_SETTLES_S)
        newest = await self._node.header("latest")
        return newest is not None and newest.number > self.block.number

    async def check_state(self) -> None:
        """Raises BlockGone, or StateUnavailable where the node does not tell the block's state, whatever is asked."""
        await self.check_chain()
        answer = await _probe(self)
        if answer is not None:
            raise StateUnavailable(self.block, answer)

    async def check_chain(self) -> None:
        """Raises BlockGone where another block has the number now."""
        header = await self._node.header(self.block.number)
        if header is None or header.hash != self.block.hash:
            raise BlockGone(f"block {self.block.number} {self.block.hash} is no longer on the node's chain")


async def probe_capabilities(node: Node, block: Block) -> NodeCapabilities:
    """Raises BlockGone for a block that is replaced meanwhile, StateUnavailable where not even code can be had.

    A node that answers for a block that never was does not look at what it is asked for: what it says is of no block.
    """
    latest_shifts = await _is_anvil(node)
    answer = None
    for by_hash in (True, False):
        never = Block(block.number, "0x" + secrets.token_hex(32)) if by_hash else Block(UNREACHED_BLOCK, block.hash)
        for overrides in (True, False):
            capabilities = NodeCapabilities(overrides, by_hash, latest_shifts=latest_shifts)
            pinned = PinnedState(node, block, capabilities)
            if await _probe(pinned) is not None:
                continue
            if await _probe(PinnedState(node, never, capabilities)) is None:
                answer = "it answers for blocks that never were, so what it says is of no block"
                continue
            await pinned.check_chain()
            _log_limits(capabilities)
            return capabilities
    raise StateUnavailable(block, answer)


async def _probe(pinned: PinnedState) -> CallResult | None:
    """None where the node can do what its capabilities say; else what it answers instead. Raises NodeUnavailable."""
    request = pinned.code(NO_CODE_ADDRESS)
    if pinned.capabilities.overrides:
        request = pinned.call(NO_CODE_ADDRESS, secrets.token_bytes(32), ECHO)
    (answer,) = await pinned.batch([request])
    if isinstance(answer, NodeUnavailable):
        raise answer
    expected = request[1][0]["data"] if pinned.capabilities.overrides else "0x"
    return None if answer == expected else answer


async def _is_anvil(node: Node) -> bool:
    try:
        return str(await node.call("web3_clientVersion", [])).lower().startswith("anvil")
    except RpcError:
        return False


def _log_limits(capabilities: NodeCapabilities) -> None:
    if not capabilities.overrides:
        log.warning("The node refuses state overrides: pools are read slot by slot, which is slower")
    if not capabilities.by_hash:
        log.warning(
            "The node does not heed block hashes (EIP-1898): pools are read by number, and the hash checked after"
        )


def _is_impatience(result: object) -> bool:
    if not isinstance(result, RpcError | NodeUnavailable):
        return False
    return any(word in str(result).lower() for word in TOO_FAST)


def _hex_result(result: object) -> CallResult:
    if isinstance(result, str | RpcError):
        return result
    return RpcError(0, f"the node's answer is no hex string: {str(result)[:100]}")
