"""What a node says may quote its address with the key, or be megabytes long: no error of ours carries that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from protocols.types import Block
from streams.node.client import Node, connect
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.heads import heads
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import PinnedState
from streams.secret_url import SecretUrl
from tests.integration.node.test_client import serving

KEY = "marked-rpc-key-0123456789"
LONGEST = 700


@asynccontextmanager
async def refusing(status: int, answer: Any) -> AsyncIterator[str]:
    """A provider that gives this answer, as JSON or text, to each request, over HTTP and WebSocket."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = answer if isinstance(answer, str) else None
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_json(_to(message.json(), answer) if body is None else {"error": body})
            return socket
        return (
            web.Response(status=status, text=body)
            if body
            else web.json_response(_to(await request.json(), answer), status=status)
        )

    async with serving(web.route("*", "/v2/{key}", handle)) as url:
        yield f"{url}/v2/{KEY}"


def _to(request: Any, answer: Any) -> Any:
    if isinstance(request, list):
        return [_to(each, answer) for each in request]
    return {"jsonrpc": "2.0", "id": request["id"], **answer}


QUOTING = f"invalid api key {KEY.upper()} for https://node.example/v2/{KEY}"
ANSWERS: list[tuple[int, Any]] = [
    (200, {"error": {"code": -32000, "message": QUOTING}}),
    (200, {"error": {"code": -32005, "message": QUOTING}}),
    (200, {"error": QUOTING}),
    (200, {"error": {"code": -32000, "message": {"text": QUOTING}}}),
    (200, {"error": {"code": -32000, "message": "x" * 5_000_000 + KEY}}),
    (200, {"result": QUOTING}),
    (200, {"result": {"number": QUOTING, "hash": KEY}}),
    (200, {QUOTING: QUOTING}),
    (401, QUOTING),
    (403, {"error": QUOTING}),
    (500, QUOTING),
    (429, "x" * 185 + KEY),
    (503, "x" * 195 + KEY),
]


async def _errors(node: Node) -> list[str]:
    pinned = PinnedState(node, Block(1, "0x" + "11" * 32), NodeCapabilities(overrides=False, by_hash=True))

    async def outcomes() -> Any:
        return await pinned.batch([pinned.code("0x" + "11" * 20)])

    async def batch() -> Any:
        return await node.batch([("eth_call", []), ("eth_getCode", [])])

    found: list[str] = []
    for ask in (lambda: node.header("latest"), node.chain_id, lambda: node.logs("0x" + "11" * 32), batch, outcomes):
        try:
            result = await ask()
        except (NodeUnavailable, RpcError) as error:
            found.append(f"{error} {error!r}")
        else:
            found += [
                f"{each} {each!r}"
                for each in (result if isinstance(result, list) else ())
                if isinstance(each, Exception)
            ]
    return found


@pytest.mark.parametrize(("status", "answer"), ANSWERS)
@pytest.mark.parametrize("over", ["http", "ws"])
async def test_no_error_quotes_the_key_or_megabytes(
    status: int, answer: Any, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.node.provider.WAIT_INITIAL_S", 0.001)
    async with refusing(status, answer) as url, connect(url.replace("http", over), timeout_s=5) as node:
        errors = await _errors(node)

    assert errors
    for text in errors:
        assert KEY[:12].lower() not in text.lower()
        assert len(text) < 2 * LONGEST


async def test_a_subscription_that_is_refused_does_not_quote_the_key(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        refusing(200, {"error": {"code": -32000, "message": QUOTING}}) as url,
        connect(url) as node,
    ):
        await _follow(node, url)
    assert "No heads by subscription" in caplog.text or "no heads by subscription" in caplog.text
    assert KEY[:12] not in caplog.text.lower()


async def _follow(node: Node, url: str) -> None:
    async def follow() -> None:
        async for _ in heads(node, SecretUrl(url.replace("http", "ws"))):
            pass

    task = asyncio.create_task(follow())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
