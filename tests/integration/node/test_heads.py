import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lab.devnet.servers.anvil import Anvil
from streams.node.blocks import NodeHeader
from streams.node.client import Node, connect
from streams.node.heads import heads
from tests.integration.node.test_client import serving

pytestmark = pytest.mark.servers


@asynccontextmanager
async def heads_of(node: Node, ws: str | None) -> AsyncIterator[list[NodeHeader]]:
    seen: list[NodeHeader] = []

    async def follow() -> None:
        async with aclosing(heads(node, ws)) as stream:
            async for head in stream:
                seen.append(head)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("over", ["http", "ws", "ipc", "http and ws"])
async def test_every_change_of_the_head_is_told(anvil: Callable[..., str], tmp_path: Path, over: str) -> None:
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


async def test_heads_go_on_when_the_node_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    with Anvil() as server:
        async with connect(server.address) as node, heads_of(node, server.address.replace("http", "ws")) as seen:
            await until(lambda: len(seen) == 1)
            server.kill()
            await until(lambda: "Polling, and subscribing again in" in caplog.text)
            await until(lambda: "No head from the node" in caplog.text)
            server.start()
            await node.call("evm_mine", [])
            await until(lambda: seen[-1].number == 1)


async def test_a_subscription_that_goes_silent_is_given_up_for_polling(
    anvil: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "streams.node.client")
    url = anvil()

    async def deaf(request: web.Request) -> web.WebSocketResponse:
        """Passes everything on but what the subscription says."""
        outer = web.WebSocketResponse()
        await outer.prepare(request)
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as inner:

            async def back() -> None:
                async for message in inner:
                    if "eth_subscription" not in str(message.data):
                        await outer.send_str(message.data)

            task = asyncio.create_task(back())
            async for message in outer:
                await inner.send_str(message.data)
            task.cancel()
        return outer

    async with (
        serving(web.get("/", deaf)) as silent,
        connect(url) as node,
        heads_of(node, silent.replace("http", "ws")) as seen,
    ):
        await until(lambda: len(seen) == 1)
        for number in range(1, 4):
            await node.call("evm_mine", [])
            await until(lambda: seen[-1].number == number)  # noqa: B023  awaited in the loop

        assert "went silent while the chain went on" in caplog.text
