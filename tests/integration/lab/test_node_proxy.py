"""The faulty node that chaos puts before the real one."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from lab.devnet.servers.node_proxy import NodeProxy

pytestmark = pytest.mark.servers


@pytest.fixture
def proxy(anvil: Callable[..., str]) -> Iterator[NodeProxy]:
    proxy = NodeProxy(anvil())
    yield proxy
    proxy.stop()


def answered(proxy: NodeProxy) -> tuple[int, str | None, object]:
    """HTTP status, Retry-After, and the result or the error's code."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    request = Request(proxy.url, json.dumps(call).encode(), {"Content-Type": "application/json"})
    try:
        answer: HTTPResponse = urlopen(request, timeout=10)
    except HTTPError as error:
        return error.code, error.headers["Retry-After"], None
    with answer:
        body = json.load(answer)
    return answer.status, answer.headers["Retry-After"], body.get("result") or body["error"]["code"]


def test_a_limiting_provider_lets_one_request_in_three_pass(proxy: NodeProxy) -> None:
    proxy.set_mode("limiting")

    assert [answered(proxy) for _ in range(6)] == 2 * [(429, "1", None), (200, None, -32005), (200, None, "0x7a69")]


def test_after_it_every_request_passes(proxy: NodeProxy) -> None:
    proxy.set_mode("limiting")
    proxy.set_mode("passing")

    assert [answered(proxy)[2] for _ in range(3)] == 3 * ["0x7a69"]
