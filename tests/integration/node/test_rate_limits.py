"""Providers' rate limits, from a server that answers as they do; each in the form that the provider documents."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from streams.node import provider
from streams.node.client import Node, connect
from streams.node.errors import RateLimited, RpcError
from streams.node.provider import NodeLimits

DIALECTS = {
    "Alchemy": {"code": 429, "message": "Your app has exceeded its compute units per second capacity."},
    "QuickNode": {"code": -32007, "message": "50/second request limit reached - reduce calls per second"},
    "QuickNode, by EIP-1474": {"code": -32005, "message": "Limit exceeded"},
    "Ankr": {"code": -32090, "message": "Too many requests, reason: call rate limit exhausted, retry in 20ms"},
    "dRPC": {"code": -32097, "message": "too fast"},
    "Infura": {
        "code": -32005,
        "message": "project ID request rate exceeded",
        "data": {"rate": {"allowed_rps": 1, "backoff_seconds": 0.02, "current_rps": 1.4}},
    },
    "a proxy": {"code": -32000, "message": "Too Many Requests"},
}

Answer = Callable[[list[dict[str, Any]]], web.Response | None]
"""What the server answers in place of results; None for results."""


class Server:
    """Answers each call with its first parameter, unless the rule has another answer."""

    def __init__(self, rule: Answer) -> None:
        self.requests: list[tuple[float, list[dict[str, Any]]]] = []
        self._rule = rule

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        self.requests.append((time.monotonic(), calls))
        if (refusal := self._rule(calls)) is not None:
            return refusal
        return answers(body, [{"result": call["params"][0]} for call in calls])


def answers(body: Any, contents: Sequence[dict[str, Any]]) -> web.Response:
    calls = body if isinstance(body, list) else [body]
    items = [{"jsonrpc": "2.0", "id": call["id"], **each} for call, each in zip(calls, contents, strict=True)]
    return web.json_response(items if isinstance(body, list) else items[0])


@asynccontextmanager
async def limited(rule: Answer, requests_per_s: float | None = None) -> AsyncIterator[tuple[Node, Server]]:
    server = Server(rule)
    app = web.Application()
    app.router.add_post("/", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with connect(url, limits=NodeLimits(requests_per_s)) as node:
            yield node, server
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "WAIT_INITIAL_S", 0.01)


def first_refused(times: int, refuse: Callable[[list[dict[str, Any]]], web.Response]) -> Answer:
    left = times

    def rule(calls: list[dict[str, Any]]) -> web.Response | None:
        nonlocal left
        left -= 1
        return refuse(calls) if left >= 0 else None

    return rule


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_call_that_a_rate_limit_refuses_is_asked_again(dialect: str) -> None:
    def refuse(calls: list[dict[str, Any]]) -> web.Response:
        return answers(calls[0], [{"error": DIALECTS[dialect]}])

    async with limited(first_refused(3, refuse)) as (node, server):
        assert await node.call("eth_echo", ["0x7"]) == "0x7"

    assert len(server.requests) == 4


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_of_a_batch_only_the_refused_calls_are_asked_again(dialect: str) -> None:
    def rule(calls: list[dict[str, Any]]) -> web.Response | None:
        """Takes three calls of each request."""
        return answers(
            calls,
            [
                {"result": call["params"][0]} if number < 3 else {"error": DIALECTS[dialect]}
                for number, call in enumerate(calls)
            ],
        )

    async with limited(rule) as (node, server):
        assert await node.batch([("eth_echo", [number]) for number in range(8)]) == list(range(8))

    assert [len(calls) for _, calls in server.requests] == [8, 5, 2]


async def test_retry_after_is_obeyed() -> None:
    def refuse(_: list[dict[str, Any]]) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "1"}, text="slow down")

    async with limited(first_refused(1, refuse)) as (node, server):
        assert await node.call("eth_echo", ["0x7"]) == "0x7"

    (first_s, _), (second_s, _) = server.requests
    assert second_s - first_s >= 1


async def test_meanwhile_other_requests_wait() -> None:
    def refuse(_: list[dict[str, Any]]) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "0.3"})

    async with limited(first_refused(1, refuse)) as (node, server):
        first = asyncio.create_task(node.call("eth_echo", [1]))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(node.call("eth_echo", [number])) for number in range(2, 6)]
        await asyncio.sleep(0.1)
        assert len(server.requests) == 1
        assert await asyncio.gather(first, *others) == [1, 2, 3, 4, 5]


async def test_a_limit_that_stays_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "ATTEMPTS", 3)

    def rule(calls: list[dict[str, Any]]) -> web.Response:
        return answers(calls[0], [{"error": {"code": 429, "message": "daily quota reached"}}])

    async with limited(rule) as (node, server):
        with pytest.raises(RateLimited, match="daily quota reached, 3 times in a row"):
            await node.call("eth_echo", [1])

    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        {"code": -32005, "message": "query returned more than 10000 results"},
        {"code": -32005, "message": "eth_getLogs block range limit exceeded"},
        {"code": -32000, "message": "execution reverted"},
    ],
)
async def test_a_limit_of_an_answers_size_is_no_rate_limit(error: dict[str, Any]) -> None:
    async with limited(lambda calls: answers(calls[0], [{"error": error}])) as (node, server):
        with pytest.raises(RpcError, match=error["message"]):
            await node.call("eth_getLogs", [{}])

    assert len(server.requests) == 1


async def test_a_cap_keeps_calls_below_the_providers_limit_batches_too() -> None:
    def rule(_: list[dict[str, Any]]) -> None:
        return None

    async with limited(rule, requests_per_s=40) as (node, server):
        started_s = time.monotonic()
        singles = await asyncio.gather(*(node.call("eth_echo", [number]) for number in range(20)))
        batch = await node.batch([("eth_echo", [number]) for number in range(60)])

    assert singles == list(range(20))
    assert batch == list(range(60))
    assert max(len(calls) for _, calls in server.requests) <= 40
    assert time.monotonic() - started_s > 1
    for at_s, _ in server.requests:
        in_a_second = [len(calls) for each_s, calls in server.requests if at_s <= each_s < at_s + 1]
        assert sum(in_a_second) <= 40 + max(in_a_second)


async def test_the_servers_limit_is_kept_by_the_cap_alone() -> None:
    """A server that takes 50 calls a second and refuses the rest, as QuickNode does."""
    taken: list[float] = []

    def rule(calls: list[dict[str, Any]]) -> web.Response | None:
        now_s = time.monotonic()
        taken[:] = [at_s for at_s in taken if at_s > now_s - 1]
        if len(taken) + len(calls) > 50:
            return answers(calls, [{"error": DIALECTS["QuickNode"]} for _ in calls])
        taken.extend(now_s for _ in calls)
        return None

    async with limited(rule, requests_per_s=25) as (node, server):
        batch = await node.batch([("eth_echo", [number]) for number in range(75)])

    assert batch == list(range(75))
    assert len(server.requests) == 3
