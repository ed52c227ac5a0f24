import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lab.devnet.servers.anvil import Anvil
from streams.node.blocks import NodeHeader
from streams.node.client import Node, connect
from streams.node.errors import WrongChain
from streams.node.heads import heads
from streams.secret_url import SecretUrl
from tests.integration.node.test_client import serving
from tests.support.rpc_proxy import Call, proxied
from tests.support.waiting import until

pytestmark = pytest.mark.servers


@asynccontextmanager
async def heads_of(node: Node, ws: str | None) -> AsyncIterator[list[NodeHeader]]:
    seen: list[NodeHeader] = []

    async def follow() -> None:
        async with aclosing(heads(node, None if ws is None else SecretUrl(ws))) as stream:
            async for head in stream:
                seen.append(head)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def websocket_proxy(url: str, notification: str | None) -> AsyncIterator[str]:
    """Passes everything on, with `notification` in place of the subscription's own; None: without them."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        outer = web.WebSocketResponse()
        await outer.prepare(request)
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as inner:

            async def back() -> None:
                async for message in inner:
                    if "eth_subscription" not in str(message.data):
                        await outer.send_str(message.data)
                    elif notification is not None:
                        await outer.send_str(notification)

            task = asyncio.create_task(back())
            async for message in outer:
                await inner.send_str(message.data)
            task.cancel()
        return outer

    async with serving(web.get("/", handle)) as address:
        yield address.replace("http", "ws")


async def test_a_subscription_of_another_chain_is_refused(anvil: Callable[..., str]) -> None:
    ours, other = anvil("--chain-id", "8453"), anvil("--chain-id", "10")

    async with connect(ours) as node:
        with pytest.raises(WrongChain, match=r"of chain 10, the node of ARENA_RPC says 8453$"):
            async with aclosing(heads(node, SecretUrl(other.replace("http", "ws")))) as stream:
                async for _ in stream:
                    pass


@pytest.mark.parametrize("over", ["http", "ws", "ipc", "http and ws"])
async def test_every_change_of_the_head_is_followed(anvil: Callable[..., str], tmp_path: Path, over: str) -> None:
    ipc = str(tmp_path / "node.ipc")
    http = anvil("--ipc", ipc)
    ws = http.replace("http", "ws")
    rpc = {"http": http, "http and ws": http, "ws": ws, "ipc": ipc}[over]
    async with connect(rpc) as node, heads_of(node, ws if over == "http and ws" else None) as seen:
        await until(lambda: len(seen) == 1)
        for number in range(1, 6):
            await node.call("evm_mine", [])
            await until(lambda: seen[-1].number == number)  # noqa: B023  awaited in the loop
        fifth = seen[-1]
        await node.call("anvil_reorg", [2, []])
        await until(lambda: seen[-1].hash != fifth.hash and seen[-1].number == 5)
        await node.call("anvil_rollback", [3])
        await until(lambda: seen[-1].number == 2)

        assert seen[-1] == await node.header("latest")
    assert [head.number for head in seen][:6] == [0, 1, 2, 3, 4, 5]


async def test_heads_continue_when_the_node_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    with Anvil() as server:
        async with connect(server.address) as node, heads_of(node, server.address.replace("http", "ws")) as seen:
            await until(lambda: len(seen) == 1)
            server.kill()
            await until(lambda: "Polling, and subscribing again in" in caplog.text)
            await until(lambda: "The node: " in caplog.text)
            server.start()
            await node.call("evm_mine", [])
            await until(lambda: seen[-1].number == 1)


async def test_a_stalled_subscription_is_replaced_by_polling(
    anvil: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "streams.node.client")
    url = anvil()

    async with (
        websocket_proxy(url, None) as silent,
        connect(url) as node,
        heads_of(node, silent) as seen,
    ):
        await until(lambda: len(seen) == 1)
        for number in range(1, 4):
            await node.call("evm_mine", [])
            await until(lambda: seen[-1].number == number)  # noqa: B023  awaited in the loop

        assert "no notification while the chain went on" in caplog.text


@pytest.mark.parametrize(
    "params",
    [
        "[1]",
        "null",
        "7",
        '"x"',
        "{}",
        '{"result": [1]}',
        '{"result": null}',
        '{"result": {"number": {}}}',
        '{"result": 1}',
    ],
)
async def test_a_notification_of_any_shape_is_survived_by_polling(
    anvil: Callable[..., str], params: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = anvil()
    notification = f'{{"jsonrpc": "2.0", "method": "eth_subscription", "params": {params}}}'
    async with (
        websocket_proxy(url, notification) as odd,
        connect(url) as node,
        heads_of(node, odd) as seen,
    ):
        await until(lambda: len(seen) == 1)
        for number in range(1, 4):
            await node.call("evm_mine", [])
            await until(lambda: seen[-1].number == number)  # noqa: B023  awaited in the loop

    assert "gave a block that cannot be read" in caplog.text


async def test_polling_reads_numbers_at_the_pace_of_the_blocks_and_few_headers(anvil: Callable[..., str]) -> None:
    calls: Counter[str] = Counter()

    def count(call: Call) -> None:
        calls[call["method"]] += 1

    url = anvil("--block-time", "2")
    async with proxied(url, count) as proxy, connect(proxy.url) as node, heads_of(node, None) as seen:
        await until(lambda: len(seen) == 3)
        calls.clear()
        await until(lambda: len(seen) == 5)

    assert 10 <= calls["eth_blockNumber"] <= 100
    assert calls["eth_getBlockByNumber"] <= 8
