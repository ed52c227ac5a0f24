"""web3's provider over our transports: AsyncWeb3 and the calls of every block share one connection."""

import sys
from typing import Any, cast

from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from streams.node.errors import NodeUnavailable
from streams.node.metrics import CALLS, REQUESTS
from streams.node.transport.http import HttpTransport
from streams.node.transport.json_rpc import Calls, Response, Transport
from streams.node.transport.socket import SocketTransport

sys.setrecursionlimit(1_000)
"""Python's own. py_ecc, which web3 imports, makes it 100,000, and msgspec then overflows the stack on nested JSON."""


class NodeProvider(AsyncJSONBaseProvider):
    """Raises NodeUnavailable at once where the node gives no answer: callers decide whether to try again.

    web3's own HTTP provider retries five times, `eth_sendRawTransaction` too.
    """

    global_ccip_read_enabled = False
    """A contract that is called could name URLs for this process to fetch."""

    def __init__(self, rpc: str, transport: Transport) -> None:
        super().__init__()
        self.rpc = rpc
        self._transport = transport

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        return cast(RPCResponse, (await self.exchange([(method, params)]))[0])

    async def make_batch_request(self, requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse] | RPCResponse:
        answers = cast(list[RPCResponse], await self.exchange(requests))
        return answers if len(answers) == len(requests) else answers[0]

    async def is_connected(self, show_traceback: bool = False) -> bool:
        try:
            return await super().is_connected(show_traceback)
        except NodeUnavailable:
            return False

    async def exchange(self, calls: Calls) -> list[Response]:
        """Answers in the order of the calls, errors among them; one answer if the node refuses the batch as such."""
        CALLS.inc(len(calls))
        try:
            answers = await self._transport.exchange(calls)
        except ConnectionError as error:
            REQUESTS.labels("failed").inc()
            raise NodeUnavailable(f"{self.rpc}: {error}") from error
        REQUESTS.labels("answered").inc()
        return answers

    async def close(self) -> None:
        await self._transport.close()


def transport(rpc: str, timeout_s: float) -> Transport:
    """http(s)://, ws(s):// or the path of an IPC socket; it connects at the first request."""
    over: type[HttpTransport] | type[SocketTransport]
    over = HttpTransport if rpc.startswith(("http://", "https://")) else SocketTransport
    return over(rpc, timeout_s)
