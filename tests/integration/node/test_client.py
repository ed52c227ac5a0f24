import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.world import World
from lab.devnet.servers.anvil import Anvil
from streams.node.client import connect
from streams.node.errors import NodeUnavailable, RpcError
from tests.support.rpc_proxy import proxied

pytestmark = pytest.mark.servers


def number(block: Any) -> int:
    return int(block["number"], 16)


UNKNOWN = "0x" + "11" * 32


@pytest.fixture
def node_addresses(anvil: Callable[..., str], tmp_path: Path) -> dict[str, str]:
    """The same chain over HTTP, WebSocket and IPC."""
    ipc = str(tmp_path / "node.ipc")
    url = anvil("--ipc", ipc)
    return {"http": url, "ws": url.replace("http", "ws"), "ipc": ipc}


TRANSPORTS = pytest.mark.parametrize("over", ["http", "ws", "ipc"])


@TRANSPORTS
async def test_headers_are_found_by_number_hash_and_tag(node_addresses: dict[str, str], over: str) -> None:
    Rpc(node_addresses["http"]).call("anvil_mine", hex(3))
    async with connect(node_addresses[over]) as node:
        latest = await node.header("latest")

        assert latest is not None
        assert latest.number == 3
        assert await node.header(3) == await node.header(latest.hash) == latest
        assert await node.header(latest.parent) == await node.header(2)
        assert await node.header(4) is None
        assert await node.header(UNKNOWN) is None


@TRANSPORTS
async def test_logs_of_a_block_are_all_its_logs_in_order(node_addresses: dict[str, str], over: str) -> None:
    world = await asyncio.to_thread(World, node_addresses["http"], 3)
    block = await asyncio.to_thread(world.mine)
    receipts = world.chain.rpc.batch([("eth_getTransactionReceipt", [each]) for each in block.transactions])
    expected = [log for receipt in receipts for log in receipt["logs"]]

    async with connect(node_addresses[over]) as node:
        logs = await node.logs(block.hash)

    assert [log.log_index for log in logs] == list(range(len(expected)))
    assert len(logs) > 10
    for log, raw in zip(logs, expected, strict=True):
        assert log.address == raw["address"].lower()
        assert ["0x" + topic.hex() for topic in log.topics] == raw["topics"]
        assert "0x" + log.data.hex() == raw["data"]
        assert log.transaction_index == int(raw["transactionIndex"], 16)


@TRANSPORTS
async def test_logs_of_an_unknown_block_are_an_error_and_never_an_empty_list(
    node_addresses: dict[str, str], over: str
) -> None:
    rpc = Rpc(node_addresses["http"])
    rpc.call("anvil_mine", hex(1))
    empty = rpc.call("eth_getBlockByNumber", "latest", False)["hash"]

    async with connect(node_addresses[over]) as node:
        assert await node.logs(empty) == []
        with pytest.raises(RpcError, match="unknown block"):
            await node.logs(UNKNOWN)


@TRANSPORTS
async def test_an_error_of_the_node_is_an_error_and_in_a_batch_stands_in_its_place(
    node_addresses: dict[str, str], over: str
) -> None:
    async with connect(node_addresses[over]) as node:
        with pytest.raises(RpcError) as refused:
            await node.call("eth_getBlockByNumber", ["nonsense", False])
        first, wrong, last = await node.batch([("eth_chainId", []), ("eth_nonsense", []), ("eth_blockNumber", [])])

    assert refused.value.code == -32602
    assert (first, last) == ("0x7a69", "0x0")
    assert isinstance(wrong, RpcError)


@pytest.mark.parametrize("code", [None, "x", [1]])
async def test_an_error_whose_code_is_no_number_is_an_error_all_the_same(code: object) -> None:
    async def answer(request: web.Request) -> web.Response:
        error = {"code": code, "message": "range too wide"}
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "error": error})

    async with serving(web.post("/", answer)) as url, connect(url) as node:
        with pytest.raises(RpcError, match="range too wide"):
            await node.header("latest")


@TRANSPORTS
async def test_an_answer_of_megabytes_arrives_whole(node_addresses: dict[str, str], over: str) -> None:
    Rpc(node_addresses["http"]).call("anvil_mine", hex(1))
    async with connect(node_addresses[over]) as node:
        answers = await node.batch([("eth_getBlockByNumber", ["latest", False])] * 2000)

    assert len(answers) == 2000
    assert {number(each) for each in answers} == {1}


@TRANSPORTS
async def test_many_requests_at_a_time_get_their_own_answers(node_addresses: dict[str, str], over: str) -> None:
    Rpc(node_addresses["http"]).call("anvil_mine", hex(40))
    async with connect(node_addresses[over]) as node:
        headers = await asyncio.gather(*(node.header(number) for number in range(40)))
        batches = await asyncio.gather(
            *(node.batch([("eth_getBlockByNumber", [hex(n), False]), ("eth_chainId", [])]) for n in range(40))
        )

    assert [header and header.number for header in headers] == list(range(40))
    assert [number(block) for block, _ in batches] == list(range(40))


async def test_an_unreachable_node_is_unavailable(tmp_path: Path) -> None:
    for rpc in ("http://127.0.0.1:1", "ws://127.0.0.1:1", str(tmp_path / "none.ipc")):
        async with connect(rpc) as node:
            with pytest.raises(NodeUnavailable, match=rpc):
                await node.header("latest")


async def test_a_server_error_and_a_garbled_answer_count_as_unavailable() -> None:
    async def answer(request: web.Request) -> web.Response:
        text = request.query["text"].encode("latin-1")
        return web.Response(status=int(request.query["status"]), body=text)

    async with serving(web.post("/", answer)) as url:
        for status, text in [
            (500, "{}"),
            (503, "busy"),
            (429, '{"jsonrpc":"2.0"}'),
            (200, "<html>"),
            (200, "{}"),
            (200, '{"id":"\xb0"}'),
            (200, "[" * 2000),
        ]:
            async with connect(f"{url}/?status={status}&text={text}") as node:
                with pytest.raises(NodeUnavailable, match=str(status)):
                    await node.header("latest")


async def test_a_node_that_does_not_answer_is_given_up(anvil: Callable[..., str]) -> None:
    async def stall(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with serving(web.post("/", stall)) as url, connect(url, timeout_s=0.2) as node:
        with pytest.raises(NodeUnavailable, match=r"no answer within 0\.2 s"):
            await node.header("latest")


async def test_a_batch_that_is_refused_as_such_raises(anvil: Callable[..., str]) -> None:
    async with proxied(anvil(), largest_batch=2) as limited, connect(limited.url) as node:
        assert len(await node.batch([("eth_chainId", [])] * 2)) == 2
        with pytest.raises(RpcError, match="batch too large"):
            await node.batch([("eth_chainId", [])] * 3)


@pytest.mark.parametrize("over", ["http", "ws", "ipc"])
async def test_a_node_that_is_back_is_reached_by_the_next_request(over: str, tmp_path: Path) -> None:
    ipc = str(tmp_path / "node.ipc")
    with Anvil("--ipc", ipc) as server:
        url = server.address
        rpc = {"http": url, "ws": url.replace("http", "ws"), "ipc": ipc}[over]
        async with connect(rpc) as node:
            assert await node.header("latest")
            server.kill()
            with pytest.raises(NodeUnavailable):
                await node.header("latest")
            server.start()

            assert await node.header("latest")


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
