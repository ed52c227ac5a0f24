"""A node as the rest sees it: headers, logs and calls, with hex and JSON decoded here, once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from protocols.types import Log
from streams.node.metrics import CALLS, REQUESTS
from streams.node.transport.http import Calls, HttpTransport, Response, Transport
from streams.node.transport.socket import SocketTransport


class RpcError(Exception):
    """The node answered, with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class NodeUnavailable(Exception):
    """No answer: connection refused or closed, HTTP 5xx, time-out, or an answer that is none."""


class NodeHeader(msgspec.Struct, frozen=True):
    number: int
    hash: str
    parent: str
    timestamp: int
    """Seconds since the epoch."""
    base_fee: int | None
    """Wei per gas; None before London."""


class BlockLog(msgspec.Struct, frozen=True):
    block: int
    log: Log


class Node:
    """Any number of requests at a time. What is asked for while the node is away raises; the next request connects."""

    def __init__(self, rpc: str, transport: Transport) -> None:
        self.rpc = rpc
        self._transport = transport

    async def call(self, method: str, params: list[Any]) -> Any:
        return _result((await self._exchange([(method, params)]))[0])

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any | RpcError]:
        """Results and errors in the order of the calls; RpcError is raised if the node refuses the batch as such."""
        if not calls:
            return []
        answers = await self._exchange(calls)
        if len(answers) != len(calls):
            _result(answers[0])
            raise NodeUnavailable(f"{self.rpc} gave {len(answers)} answers to {len(calls)} requests")
        return [_result_or_error(answer) for answer in answers]

    async def header(self, at: int | str) -> NodeHeader | None:
        """At a number, a 0x hash or a tag (latest, safe, finalized); None if the node has no such block."""
        block = await self._block(at)
        return None if block is None else self.read_header(block)

    async def logs(self, block_hash: str) -> list[Log]:
        """All logs of the block; RpcError if the node does not know it."""
        raw = await self.call("eth_getLogs", [{"blockHash": block_hash}])
        if not raw:
            await self._expect_no_logs(block_hash)
        try:
            if any(item["blockHash"].lower() != block_hash.lower() for item in raw):
                raise NodeUnavailable(f"{self.rpc} gave logs of another block than {block_hash}")
            return sorted(map(_log, raw), key=lambda log: log.log_index)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NodeUnavailable(f"{self.rpc} gave logs that cannot be read: {error!r}") from error

    async def logs_in_range(self, log_filter: Mapping[str, Any], first: int, last: int) -> list[BlockLog]:
        """In order. `log_filter`: address and topics as `eth_getLogs` takes them. RpcError for too wide a range."""
        raw = await self.call("eth_getLogs", [{**log_filter, "fromBlock": hex(first), "toBlock": hex(last)}])
        try:
            return [BlockLog(int(item["blockNumber"], 16), _log(item)) for item in raw]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NodeUnavailable(f"{self.rpc} gave logs that cannot be read: {error!r}") from error

    def read_header(self, block: dict[str, Any]) -> NodeHeader:
        """What `eth_getBlockBy…` and `newHeads` give."""
        try:
            return NodeHeader(
                number=int(block["number"], 16),
                hash=block["hash"].lower(),
                parent=block["parentHash"].lower(),
                timestamp=int(block["timestamp"], 16),
                base_fee=None if block.get("baseFeePerGas") is None else int(block["baseFeePerGas"], 16),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NodeUnavailable(f"{self.rpc} gave a block that cannot be read: {error!r}") from error

    async def close(self) -> None:
        await self._transport.close()

    async def _block(self, at: int | str) -> Any:
        if isinstance(at, int):
            return await self.call("eth_getBlockByNumber", [hex(at), False])
        by = "eth_getBlockByHash" if at.startswith("0x") and len(at) == 66 else "eth_getBlockByNumber"
        return await self.call(by, [at, False])

    async def _expect_no_logs(self, block_hash: str) -> None:
        """Some nodes answer an empty list for a block they do not know, or whose logs they have not indexed yet."""
        block = await self._block(block_hash)
        if block is None:
            raise RpcError(-32000, f"unknown block {block_hash}")
        if int(block.get("logsBloom") or "0x0", 16):
            raise NodeUnavailable(f"{self.rpc} has block {block_hash} but not its logs yet")

    async def _exchange(self, calls: Calls) -> list[Response]:
        CALLS.inc(len(calls))
        try:
            answers = await self._transport.exchange(calls)
        except ConnectionError as error:
            REQUESTS.labels("failed").inc()
            raise NodeUnavailable(f"{self.rpc}: {error}") from error
        REQUESTS.labels("answered").inc()
        return answers


@asynccontextmanager
async def connect(rpc: str, timeout_s: float = 30.0) -> AsyncIterator[Node]:
    """http(s)://, ws(s):// or the path of an IPC socket; connects at the first request."""
    over = HttpTransport if rpc.startswith(("http://", "https://")) else SocketTransport
    node = Node(rpc, over(rpc, timeout_s))
    try:
        yield node
    finally:
        await node.close()


def _result(answer: Response) -> Any:
    result = _result_or_error(answer)
    if isinstance(result, RpcError):
        raise result
    return result


def _result_or_error(answer: Response) -> Any | RpcError:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict):
        return RpcError(0, str(error))
    return RpcError(_code(error.get("code", 0)), str(error.get("message", "")), error.get("data"))


def _code(given: Any) -> int:
    """0 for what is no number."""
    try:
        return int(given)
    except (TypeError, ValueError, OverflowError):
        return 0


def _log(raw: dict[str, Any]) -> Log:
    return Log(
        address=raw["address"].lower(),
        topics=tuple(bytes.fromhex(topic[2:]) for topic in raw["topics"]),
        data=bytes.fromhex(raw["data"][2:]),
        transaction_index=int(raw["transactionIndex"], 16),
        log_index=int(raw["logIndex"], 16),
    )
