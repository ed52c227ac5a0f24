"""A node that refuses or limits what a test says: JSON-RPC over HTTP, passed on to a real node."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from streams.snapshots.programs import MULTICALL

Call = dict[str, Any]
Rule = Callable[[Call], Call | None]
"""Gets one request, may change it; an answer of its own in place of the node's, or None to pass the request on."""
Rewrite = Callable[[Call, Call], None]
"""Gets a request and the node's answer, which it may change."""


class Proxy:
    def __init__(
        self, target: str, rule: Rule | None, largest_batch: int | None, rewrite: Rewrite | None = None
    ) -> None:
        self.url = ""
        self.batches: list[int] = []
        """How many calls each HTTP request held."""
        self.status = 200
        """Any other is given to every request, which then goes no further."""
        self._target = target
        self._rule = rule
        self._largest_batch = largest_batch
        self._rewrite = rewrite
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        if self.status != 200:
            return web.json_response({"error": "no"}, status=self.status)
        self.batches.append(len(calls))
        if self._largest_batch is not None and len(calls) > self._largest_batch:
            return web.json_response(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}}
            )
        own = {call["id"]: answer for call in calls if (answer := self._own(call)) is not None}
        passed = await self._pass_on([call for call in calls if call["id"] not in own])
        answers = [own.get(call["id"]) or passed[call["id"]] for call in calls]
        return web.json_response(answers if isinstance(body, list) else answers[0])

    def _own(self, call: Call) -> Call | None:
        own = self._rule(call) if self._rule else None
        return own and {"jsonrpc": "2.0", "id": call["id"], **own}

    async def _pass_on(self, calls: list[Call]) -> dict[int, Call]:
        if not calls:
            return {}
        assert self._session is not None
        async with self._session.post(self._target, json=calls) as response:
            answers = {answer["id"]: answer for answer in await response.json()}
        if self._rewrite is not None:
            for call in calls:
                self._rewrite(call, answers[call["id"]])
        return answers

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            async with aiohttp.ClientSession() as self._session:
                yield self
        finally:
            await runner.cleanup()


def proxied(
    target: str, rule: Rule | None = None, largest_batch: int | None = None, rewrite: Rewrite | None = None
) -> Any:
    """An async context manager that gives the Proxy."""
    return Proxy(target, rule, largest_batch, rewrite).serving()


def error(message: str, code: int = -32000) -> Call:
    return {"error": {"code": code, "message": message}}


def is_asking(call: Call) -> bool:
    """Many contracts in one call, with the program of ours for that."""
    return call["method"] == "eth_call" and MULTICALL.hex() in str(call["params"][2:])


def refuse_overrides(call: Call) -> Call | None:
    if call["method"] == "eth_call" and len(call["params"]) > 2:
        return error("too many arguments, want at most 2", -32602)
    return None


def ignore_overrides(call: Call) -> Call | None:
    if call["method"] == "eth_call":
        del call["params"][2:]
    return None


def refuse_block_hashes(call: Call) -> Call | None:
    if any(isinstance(each, dict) and "blockHash" in each for each in call["params"][1:]):
        return error("invalid argument: cannot unmarshal object into Go value of type rpc.BlockNumber", -32602)
    return None


def ignore_block_hashes(call: Call) -> Call | None:
    """Answers with the newest block's state, whatever hash is asked for."""
    call["params"] = ["latest" if isinstance(each, dict) and "blockHash" in each else each for each in call["params"]]
    return None


def ignore_blocks(call: Call) -> Call | None:
    """Answers with the newest block's state, whatever block is asked for."""
    if call["method"] in ("eth_call", "eth_getStorageAt", "eth_getCode"):
        call["params"][-1 if call["method"] != "eth_call" else 1] = "latest"
    return None


def both(first: Rule, second: Rule) -> Rule:
    return lambda call: first(call) or second(call)


def gas_cap(gas: int) -> Rule:
    """The node's own EVM runs out of gas."""

    def rule(call: Call) -> None:
        if call["method"] == "eth_call":
            call["params"][0]["gas"] = hex(gas)

    return rule
