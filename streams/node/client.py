"""The node: blocks and logs without web3's formatters, and an AsyncWeb3 over the same connection for the rest."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Any

from web3 import AsyncWeb3

from protocols.types import Log
from settings import Settings
from streams.node.blocks import BlockLog, NodeHeader, UnreadableBlock, decode_block_logs, decode_header, decode_logs
from streams.node.blooms import may_have
from streams.node.errors import RpcError, UnusableAnswer, rpc_error
from streams.node.provider import NO_LIMITS, NodeLimits, NodeProvider, transport
from streams.node.transport.hex_values import counter
from streams.node.transport.json_rpc import Calls, Response, Transport
from streams.secret_url import SecretUrl

TIMEOUT_S = 30.0


class Node:
    """Any number of requests at a time. A request while the node is away raises; the next one connects again."""

    def __init__(self, rpc: SecretUrl, transport: Transport, limits: NodeLimits = NO_LIMITS) -> None:
        self.rpc = rpc
        self._provider = NodeProvider(rpc, transport, limits)
        self._chain_id: int | None = None

    @cached_property
    def w3(self) -> AsyncWeb3[NodeProvider]:
        """For contracts, ABIs and rare calls: its formatters cost milliseconds per call. Raises NodeUnavailable, and
        web3's own errors for what the node refuses."""
        return AsyncWeb3(self._provider)

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        return _result(method, (await self._provider.exchange([(method, params)]))[0])

    async def batch(self, calls: Calls) -> list[Any | RpcError]:
        """Results and errors in the order of the calls; RpcError is raised if the node refuses the batch as such."""
        if not calls:
            return []
        answers = await self._provider.exchange(calls)
        if len(answers) != len(calls):
            _result(calls[0][0], answers[0])
            raise UnusableAnswer(f"{self.rpc} gave {len(answers)} answers to {len(calls)} requests")
        return [_result_or_error(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]

    async def chain_id(self) -> int:
        """Asked once. Raises NodeUnavailable, RpcError, WrongChain."""
        if self._chain_id is None:
            answer = await self.call("eth_chainId", [])
            try:
                self._chain_id = counter(answer)
            except ValueError as error:
                raise self._unusable(error) from error
        return self._chain_id

    async def header(self, at: int | str) -> NodeHeader | None:
        """At a number, a 0x hash or a tag (latest, safe, finalized); None if the node has no such block."""
        block = await self._block(at)
        if block is None:
            return None
        header = self.read_header(block)
        if (at if isinstance(at, int) else header.number) != header.number:
            raise self._unusable(f"block {header.number} for block {at}")
        if isinstance(at, str) and at.startswith("0x") and at.lower() != header.hash:
            raise self._unusable(f"block {header.hash} for block {at}")
        return header

    async def logs(self, block_hash: str, topics: Sequence[bytes] | None = None) -> list[Log]:
        """The logs of the block whose topic0 is one of these, or all; RpcError if the node does not know the block.

        Where the node gives none, its header has to agree. With topics, others may be among the logs.
        """
        of_topics = {} if topics is None else {"topics": [["0x" + topic.hex() for topic in topics]]}
        raw = await self.call("eth_getLogs", [{"blockHash": block_hash, **of_topics}])
        if raw == [] and not await self._has_no_logs(block_hash, topics):
            return await self.logs(block_hash)
        try:
            return decode_logs(raw, block_hash)
        except UnreadableBlock as error:
            raise self._unusable(error) from error

    async def logs_in_range(self, log_filter: Mapping[str, Any], first: int, last: int) -> list[BlockLog]:
        """In order. `log_filter`: address and topics as `eth_getLogs` takes them. RpcError for too wide a range."""
        raw = await self.call("eth_getLogs", [{**log_filter, "fromBlock": hex(first), "toBlock": hex(last)}])
        try:
            logs = decode_block_logs(raw)
        except UnreadableBlock as error:
            raise self._unusable(error) from error
        if not all(first <= each.block <= last for each in logs):
            raise self._unusable(f"logs of other blocks than {first} to {last}")
        return logs

    def read_header(self, block: Any) -> NodeHeader:
        """What `eth_getBlockBy…` and `newHeads` give."""
        try:
            return decode_header(block)
        except UnreadableBlock as error:
            raise self._unusable(error) from error

    async def close(self) -> None:
        await self._provider.close()

    async def _block(self, at: int | str) -> Any:
        if isinstance(at, int):
            return await self.call("eth_getBlockByNumber", [hex(at), False])
        by = "eth_getBlockByHash" if at.startswith("0x") and len(at) == 66 else "eth_getBlockByNumber"
        return await self.call(by, [at, False])

    def _unusable(self, answer: object) -> UnusableAnswer:
        return UnusableAnswer(f"{self.rpc} gave {self.rpc.scrub(str(answer))}")

    async def _has_no_logs(self, block_hash: str, topics: Sequence[bytes] | None) -> bool:
        """False where logs with the topics may be there all the same: a bloom filter can say so wrongly.

        Some nodes answer an empty list for a block they do not know, or whose logs they have not indexed yet.
        """
        header = await self.header(block_hash)
        if header is None:
            raise RpcError(-32000, f"unknown block {block_hash}")
        if not header.bloom:
            return True
        if topics is not None:
            return not may_have(header.bloom, topics)
        raise UnusableAnswer(f"{self.rpc} has block {block_hash} but not its logs yet")


@asynccontextmanager
async def connect(
    rpc: str | SecretUrl, timeout_s: float = TIMEOUT_S, limits: NodeLimits = NO_LIMITS
) -> AsyncIterator[Node]:
    """http(s)://, ws(s):// or the path of an IPC socket; connects at the first request."""
    url = SecretUrl(rpc) if isinstance(rpc, str) else rpc
    node = Node(url, transport(url, timeout_s), limits)
    try:
        yield node
    finally:
        await node.close()


def connect_node(settings: Settings) -> AbstractAsyncContextManager[Node]:
    """The settings' node. Its first request raises WrongChain where it is not of ARENA_CHAIN_ID."""
    return connect(settings.rpc, limits=NodeLimits(settings.rpc_per_s, settings.chain_id))


def _result(method: str, answer: Response) -> Any:
    result = _result_or_error(method, answer)
    if isinstance(result, RpcError):
        raise result
    return result


def _result_or_error(method: str, answer: Response) -> Any | RpcError:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict):
        return RpcError(0, str(error))
    return rpc_error(method, _code(error.get("code", 0)), str(error.get("message", "")), error.get("data"))


def _code(given: Any) -> int:
    """0 for what is no number."""
    try:
        return int(given)
    except (TypeError, ValueError, OverflowError):
        return 0
