"""The commands that ask a worker, against one that answers as workers do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from commands.__main__ import arena
from settings import settings

POOL = {
    "id": "0x" + "ab" * 20,
    "protocol": "v3",
    "status": "live",
    "reason": None,
    "block": {"number": 7, "hash": "0x07"},
    "fee": 500,
    "state": {"sqrt_price_x96": "1", "tick": -5, "liquidity": "3"},
}
QUOTE = {
    "block": {"number": 7, "hash": "0x07"},
    "pool": POOL["id"],
    "token_in": "0xaa",
    "token_out": "0xbb",
    "amount_in": "1000",
    "amount_out": "996",
    "fee_amount": "3",
    "price_before": "1",
    "price_after": "0.99",
    "tick_after": -5,
    "ticks_crossed": 0,
    "price_impact": "0.004",
}
ANSWERS = {
    f"/pools/{POOL['id']}/": POOL,
    f"/pools/{POOL['id']}/ticks/": {
        "ticks": [{"tick": -10, "liquidity_gross": "3", "liquidity_net": "3"}],
    },
    f"/pools/{POOL['id']}/quote?token_in=0xaa&amount_in=1000&at=7": QUOTE,
    "/pools/": {"pools": [POOL], "next": POOL["id"]},
    f"/pools/?cursor={POOL['id']}": {"pools": [], "next": None},
    "/status/": {
        "chain": "ethereum",
        "head": 7,
        "pools": {"live": 1, "waiting": 2},
        "reasons": {"listed": 2},
        "partitions": [
            {"partition": 0, "worker": "http://w", "ready": True, "head": {"number": 7}, "pools": {"live": 1}}
        ],
    },
}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = ANSWERS.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found or {"error": f"{self.path} is not on the whitelist"}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it so
        pass


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answers as a worker does."""
    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ARENA_WEB_PORT", str(server.server_port))
    settings.cache_clear()
    yield
    server.shutdown()
    server.server_close()
    settings.cache_clear()


def invoked(*arguments: str) -> str:
    result = CliRunner().invoke(arena, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("worker")
def test_a_pool_is_printed_with_its_ticks() -> None:
    printed = invoked("pool", str(POOL["id"]), "--ticks")

    assert "status           live" in printed
    assert "tick             -5" in printed
    assert printed.splitlines()[-1].split() == ["-10", "3", "3"]


@pytest.mark.usefixtures("worker")
def test_an_error_of_the_worker_is_passed_on() -> None:
    result = CliRunner().invoke(arena, ["pool", "0x…"])

    assert result.exit_code == 1
    assert "is not on the whitelist" in result.output


@pytest.mark.usefixtures("worker")
def test_pools_are_read_page_by_page() -> None:
    assert json.loads(invoked("pools", "--json")) == {"pools": [POOL]}
    assert invoked("pools").splitlines()[-1] == "1 pools"


@pytest.mark.usefixtures("worker")
def test_status_shows_the_waiting_pools_and_why() -> None:
    printed = invoked("status")

    assert "ethereum: head 7, 1 live, 2 waiting" in printed
    assert "2 waiting: listed" in printed
    assert json.loads(invoked("status", "--json")) == ANSWERS["/status/"]


@pytest.mark.usefixtures("worker")
def test_a_quote_is_printed_as_http_answers_it() -> None:
    asked = ["quote", str(POOL["id"]), "--token-in", "0xaa", "--amount-in", "1000", "--at", "7"]

    assert json.loads(invoked(*asked, "--json")) == QUOTE
    assert "amount_out       996" in invoked(*asked)
