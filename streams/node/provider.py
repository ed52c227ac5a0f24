"""web3's provider over our transports: AsyncWeb3 and the calls of every block share one connection."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from streams.node.errors import NodeUnavailable, RateLimited, UnusableAnswer, WrongChain
from streams.node.metrics import ANSWERED, CALLS, FAILED, RATE_LIMITED, REFUSED
from streams.node.rate_limits import RequestCap, is_rate_limit, retry_after_s
from streams.node.transport.hex_values import counter
from streams.node.transport.http import HttpTransport
from streams.node.transport.json_rpc import Calls, Response, TooManyRequests, Transport
from streams.node.transport.socket import SocketTransport
from streams.retry import Retries
from streams.secret_url import SecretUrl

sys.setrecursionlimit(1_000)
"""Python's own. py_ecc, which web3 imports, makes it 100,000, and msgspec then overflows the stack on nested JSON."""

ATTEMPTS = 8
LONGEST_TEXT = 500
"""Characters that are kept of what a node says; it may go into a record and into the log."""
WAIT_INITIAL_S = 0.5
"""After the first refusal by a rate limit; the later ones are twice as long each."""


class NodeLimits(msgspec.Struct, frozen=True):
    requests_per_s: float | None = None
    """Calls, each of a batch counted."""
    chain_id: int | None = None
    """The first request raises WrongChain for a node of another one."""
    chain_id_of: str = "ARENA_CHAIN_ID"
    """What says so."""


NO_LIMITS = NodeLimits()


class NodeProvider(AsyncJSONBaseProvider):
    """Raises NodeUnavailable at once where the node gives no answer: callers decide whether to try again.

    web3's own HTTP provider retries five times, `eth_sendRawTransaction` too. What a rate limit refuses, of a batch
    each item by itself, was not done, so it is asked again here; meanwhile all other requests wait. RateLimited is
    raised after ATTEMPTS.
    """

    global_ccip_read_enabled = False
    """A contract that is called could name URLs for this process to fetch."""

    def __init__(self, rpc: SecretUrl, transport: Transport, limits: NodeLimits) -> None:
        super().__init__()
        self.rpc = rpc
        self._transport = transport
        self._cap = None if limits.requests_per_s is None else RequestCap(limits.requests_per_s)
        self._unchecked_chain_id = limits.chain_id
        self._expected_by = limits.chain_id_of
        self._while_limited = asyncio.Lock()

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
        if self._unchecked_chain_id is not None:
            await self._check_chain(self._unchecked_chain_id)
        if self._cap is None:
            return await self._below_rate_limit(calls)
        largest = self._cap.largest_batch
        answers: list[Response] = []
        for start in range(0, len(calls), largest):
            part = calls[start : start + largest]
            answered = await self._below_rate_limit(part)
            if len(answered) != len(part):
                return answered
            answers += answered
        return answers

    async def close(self) -> None:
        await self._transport.close()

    async def _check_chain(self, expected: int) -> None:
        (answer,) = await self._below_rate_limit([("eth_chainId", [])])
        try:
            chain_id = counter(answer.get("result"))
        except ValueError as error:
            raise UnusableAnswer(f"{self.rpc} does not give its chain id: {answer.get('error') or error}") from error
        if chain_id != expected:
            raise WrongChain(self.rpc, chain_id, expected, self._expected_by)
        self._unchecked_chain_id = None

    async def _below_rate_limit(self, calls: Calls) -> list[Response]:
        if self._while_limited.locked():
            async with self._while_limited:
                pass
        answers: dict[int, Response] = {}
        try:
            answered = await self._send(calls)
            if not any("error" in answer for answer in answered):
                return answered
            return self._accept(calls, answers, range(len(calls)), answered)
        except RateLimited as error:
            async with self._while_limited:
                return await self._ask_again(calls, answers, error)

    async def _ask_again(self, calls: Calls, answers: dict[int, Response], first: RateLimited) -> list[Response]:
        retries = Retries("The node's rate limit", RateLimited, attempts=ATTEMPTS, wait_initial_s=WAIT_INITIAL_S)
        try:
            async for attempt in retries:
                with attempt:
                    if attempt.num == 1:
                        raise first
                    return await self._ask(calls, answers)
        except RateLimited as last:
            raise RateLimited(f"{last}, {ATTEMPTS} times in a row", last.retry_after_s) from last
        raise first

    async def _ask(self, calls: Calls, answers: dict[int, Response]) -> list[Response]:
        """Asks what `answers` lacks and adds it there. Raises RateLimited while the node refuses a part of it."""
        left = [at for at in range(len(calls)) if at not in answers]
        return self._accept(calls, answers, left, await self._send([calls[at] for at in left]))

    def _accept(
        self, calls: Calls, answers: dict[int, Response], left: Sequence[int], answered: list[Response]
    ) -> list[Response]:
        limits = [error for answer in answered if (error := answer.get("error")) and is_rate_limit(error)]
        if limits:
            RATE_LIMITED.inc(len(limits))
        if len(answered) == len(left):
            pairs = zip(left, answered, strict=True)
            answers.update((at, answer) for at, answer in pairs if answer.get("error") not in limits)
        elif not limits:
            return answered
        if limits:
            raise RateLimited(self._shown(_message(limits[0])), retry_after_s(limits[0]))
        return [answers[at] for at in range(len(calls))]

    async def _send(self, calls: Calls) -> list[Response]:
        if self._cap is not None:
            await self._cap.wait(len(calls))
        CALLS.inc(len(calls))
        try:
            answers = await self._transport.exchange(calls)
        except TooManyRequests as error:
            REFUSED.inc()
            raise RateLimited(self._shown(error), error.retry_after_s) from error
        except ConnectionError as error:
            FAILED.inc()
            raise NodeUnavailable(self._shown(error)) from error
        ANSWERED.inc()
        return [self._public(answer) if answer.get("error") else answer for answer in answers]

    def _shown(self, error: object) -> str:
        return f"{self.rpc}: {self._public_text(error)}"

    def _public(self, answer: Response) -> Response:
        """The text of an error may quote the node's address with its key, and be of any length."""
        error = answer["error"]
        if not isinstance(error, dict):
            return {**answer, "error": self._public_text(error)}
        return {**answer, "error": {**error, "message": self._public_text(error.get("message", ""))}}

    def _public_text(self, text: object) -> str:
        return self.rpc.scrub(str(text)[: 2 * LONGEST_TEXT])[:LONGEST_TEXT]


def is_http(rpc: SecretUrl) -> bool:
    return rpc.get_secret_value().startswith(("http://", "https://"))


def transport(rpc: SecretUrl, timeout_s: float) -> Transport:
    """http(s)://, ws(s):// or the path of an IPC socket; it connects at the first request."""
    over: type[HttpTransport] | type[SocketTransport]
    over = HttpTransport if is_http(rpc) else SocketTransport
    return over(rpc.get_secret_value(), timeout_s)


def _message(error: Any) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
