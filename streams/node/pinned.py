"""A node's state at one block: every request is pinned to it, in requests as large as the node takes."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from protocols.programs import ECHO
from protocols.types import Block
from streams.node.client import Node, NodeUnavailable, RpcError

log = logging.getLogger(__name__)

MOST_CALLS = 400
MOST_WORDS = 8192
MOST_QUESTIONS = 500
FEWEST_WORDS = 64
SETTLING_S = 0.05
NOWHERE = "0x00000000000000000000000000000000a7e4a7e4"
"""An address without code, for trying an override."""
NEVER = 2**48
"""A block number that no chain reaches."""
TOO_FAST = ("rate limit", "too many requests", "request count exceeded", "http 429")
"""What nodes say to who should wait; of other limits they speak too, and there smaller requests help."""

Request = tuple[str, list[Any]]
Answer = str | RpcError | NodeUnavailable


class BlockGone(Exception):
    """The block is no longer on the node's chain, or its state can no longer be had."""


class StateRefused(BlockGone):
    """The node has the block and does not tell its state."""

    def __init__(self, block: Block, answer: object = None) -> None:
        super().__init__(f"the node does not tell the state of block {block.number} {block.hash}: {answer}")


class NodeCapabilities(msgspec.Struct):
    """What a node has shown it can do. It is found out once and corrected by what it refuses."""

    overrides: bool
    by_hash: bool
    """Takes a block hash where a block is asked for (EIP-1898)."""
    calls: int = MOST_CALLS
    """Per request."""
    most_calls: int = MOST_CALLS
    newest_shifts: bool = False
    """anvil reads its newest block from live state: a block that is mined meanwhile shows through, hash or not."""
    words: int = MOST_WORDS
    """Bitmap words per run of the reading program."""
    questions: int = MOST_QUESTIONS
    """Getters per run of the asking program."""

    def questions_failed(self, questions: int) -> None:
        self.questions = max(1, min(self.questions, questions // 2))

    def questions_worked(self) -> None:
        """It may have been a block that was gone that made the limit small."""
        self.questions = min(MOST_QUESTIONS, self.questions * 5 // 4 + 1)

    def words_failed(self, words: int) -> None:
        self.words = max(FEWEST_WORDS, min(self.words, words // 2))

    def words_worked(self, words: int) -> None:
        """A dense pool made the limit small; sparse ones may widen it again."""
        if words == self.words:
            self.words = min(MOST_WORDS, self.words * 5 // 4)

    def calls_failed(self, calls: int, refused: bool) -> None:
        """Refused for their number: that is not tried again. Otherwise they took too long, or were too large."""
        self.calls = max(1, min(self.calls, calls // 2))
        if refused:
            self.most_calls = self.calls

    def calls_worked(self, calls: int) -> None:
        if calls == self.calls:
            self.calls = min(self.most_calls, self.calls * 5 // 4 + 1)


class Pinned:
    def __init__(self, node: Node, block: Block, abilities: NodeCapabilities) -> None:
        self.block = block
        self.abilities = abilities
        self._node = node
        self._at: object = {"blockHash": block.hash} if abilities.by_hash else hex(block.number)

    def call(self, to: str, data: bytes, code: bytes | None = None) -> Request:
        """With `code`, that runs in place of the contract's own."""
        params: list[Any] = [{"to": to, "data": "0x" + data.hex()}, self._at]
        return "eth_call", params if code is None else [*params, {to: {"code": "0x" + code.hex()}}]

    def storage(self, address: str, slot: int) -> Request:
        return "eth_getStorageAt", [address, hex(slot), self._at]

    def code(self, address: str) -> Request:
        return "eth_getCode", [address, self._at]

    async def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """In order. A request that alone is too much for the node is answered by its error.

        Raises NodeUnavailable for a node that answers nothing, or asks for patience.
        """
        answers: list[Answer] = []
        while len(answers) < len(requests):
            chunk = requests[len(answers) : len(answers) + self.abilities.calls]
            try:
                results = await self._node.batch(chunk)
            except (RpcError, NodeUnavailable) as error:
                await self._node.header("latest")
                if _is_impatience(error):
                    raise NodeUnavailable(str(error)) from error
                if len(chunk) == 1:
                    answers.append(error)
                else:
                    self.abilities.calls_failed(len(chunk), refused=isinstance(error, RpcError))
                    log.info("%d calls are too much for the node (%s), trying %d", len(chunk), error, len(chunk) // 2)
            else:
                if impatience := next(filter(_is_impatience, results), None):
                    raise NodeUnavailable(str(impatience))
                self.abilities.calls_worked(len(chunk))
                answers += [_text(result) for result in results]
        return answers

    async def shifted(self) -> bool:
        """Whether what was just read may be of a later block. Read again it is not: the block is not the newest now."""
        if not self.abilities.newest_shifts:
            return False
        await asyncio.sleep(SETTLING_S)
        newest = await self._node.header("latest")
        return newest is not None and newest.number > self.block.number

    async def check_state(self) -> None:
        """Raises BlockGone, or StateRefused where the node does not tell the block's state, whatever is asked."""
        await self.check_chain()
        answer = await _probe(self)
        if answer is not None:
            raise StateRefused(self.block, answer)

    async def check_chain(self) -> None:
        """Raises BlockGone where another block has the number now."""
        header = await self._node.header(self.block.number)
        if header is None or header.hash != self.block.hash:
            raise BlockGone(f"block {self.block.number} {self.block.hash} is no longer on the node's chain")


async def probe_capabilities(node: Node, block: Block) -> NodeCapabilities:
    """Raises BlockGone for a block that is replaced meanwhile, StateRefused where not even code can be had.

    A node that answers for a block that never was does not look at what it is asked for: what it says is of no block.
    """
    newest_shifts = await _is_anvil(node)
    answer = None
    for by_hash in (True, False):
        never = Block(block.number, "0x" + secrets.token_hex(32)) if by_hash else Block(NEVER, block.hash)
        for overrides in (True, False):
            abilities = NodeCapabilities(overrides, by_hash, newest_shifts=newest_shifts)
            pinned = Pinned(node, block, abilities)
            if await _probe(pinned) is not None:
                continue
            if await _probe(Pinned(node, never, abilities)) is None:
                answer = "it answers for blocks that never were, so what it says is of no block"
                continue
            await pinned.check_chain()
            _tell(abilities)
            return abilities
    raise StateRefused(block, answer)


async def _probe(pinned: Pinned) -> Answer | None:
    """None where the node can do what its abilities say; else what it answers instead. Raises NodeUnavailable."""
    request = pinned.code(NOWHERE)
    if pinned.abilities.overrides:
        request = pinned.call(NOWHERE, secrets.token_bytes(32), ECHO)
    (answer,) = await pinned.answers([request])
    if isinstance(answer, NodeUnavailable):
        raise answer
    expected = request[1][0]["data"] if pinned.abilities.overrides else "0x"
    return None if answer == expected else answer


async def _is_anvil(node: Node) -> bool:
    try:
        return str(await node.call("web3_clientVersion", [])).lower().startswith("anvil")
    except RpcError:
        return False


def _tell(abilities: NodeCapabilities) -> None:
    if not abilities.overrides:
        log.warning("The node refuses state overrides: pools are read slot by slot, which is slower")
    if not abilities.by_hash:
        log.warning(
            "The node does not heed block hashes (EIP-1898): pools are read by number, and the hash checked after"
        )


def _is_impatience(result: object) -> bool:
    if not isinstance(result, RpcError | NodeUnavailable):
        return False
    return any(word in str(result).lower() for word in TOO_FAST)


def _text(result: object) -> Answer:
    if isinstance(result, str | RpcError):
        return result
    return RpcError(0, f"the node's answer is no hex string: {str(result)[:100]}")
