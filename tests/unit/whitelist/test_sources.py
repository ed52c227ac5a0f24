"""Each source's request and real answers; an answer without tokens is an error."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.whitelist.source_server import SourceServer, serving_sources
from tests.support.whitelist.token_sources import TOKEN_LIST, WORLD, A, B
from whitelist.sources import coingecko, hyperliquid, lighter, token_lists
from whitelist.sources.coingecko import Coin
from whitelist.sources.fetching import fetch
from whitelist.sources.query import SourceFailed


@pytest.fixture
def server() -> Iterator[SourceServer]:
    with serving_sources(WORLD) as server:
        yield server


async def test_coingecko_is_asked_with_platforms_and_gives_addresses(server: SourceServer) -> None:
    found = coingecko.parse(await fetch(server.url, coingecko.REQUEST, 5))

    assert server.asked == [("GET", "/api/v3/coins/list?include_platform=true", b"")]
    assert found[1] == Coin("chainlink", "link", {"ethereum": A, "base": B, "solana": "So1"})
    assert [coin.id for coin in coingecko.on_several_chains(found, ("ethereum", "base", "arbitrum-one"), 2)] == [
        "chainlink"
    ]
    assert coingecko.on_several_chains(found, ("ethereum", "ethereum", "arbitrum-one"), 2) == []
    assert [coingecko.address_on(found[1], chain) for chain in ("ethereum", "solana", "tron")] == [A, None, None]


async def test_hyperliquid_is_asked_by_post_and_gives_active_perpetuals(server: SourceServer) -> None:
    found = hyperliquid.parse(await fetch(f"{server.url}/info", hyperliquid.REQUEST, 5))

    assert server.asked == [("POST", "/info", b'{"type":"metaAndAssetCtxs"}')]
    assert found == ["BTC", "KAS", "PEPE"]


async def test_lighter_gives_only_its_own_markets(server: SourceServer) -> None:
    found = lighter.parse(await fetch(server.url, lighter.REQUEST, 5))

    assert server.asked == [("GET", "/api/v1/funding-rates", b"")]
    assert found == ["ETH", "PEPE"]


async def test_a_token_list_gives_the_addresses_on_its_chains(server: SourceServer) -> None:
    found = token_lists.parse(await fetch(f"{server.url}/list.json", token_lists.REQUEST, 5))

    assert token_lists.on_chain(found, frozenset({1})) == {A: "LINK"}
    assert token_lists.on_chain(found, frozenset({10, 5})) == {B: "LINK"}


@pytest.mark.parametrize("url", ["{}", "file://{}"])
async def test_a_file_answers_like_a_server(tmp_path: Path, url: str) -> None:
    path = tmp_path / "a list.json"
    path.write_text(json.dumps(TOKEN_LIST))

    found = token_lists.parse(await fetch(url.format(path), token_lists.REQUEST, 5))

    assert [token.symbol for token in found] == ["LINK", "LINK", "SOL"]


async def test_a_percent_encoded_file_url_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a list, 100 %.json"
    path.write_text(json.dumps(TOKEN_LIST))

    found = token_lists.parse(await fetch(path.as_uri(), token_lists.REQUEST, 5))

    assert len(found) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://x", "https://x/api/v3/coins/list?include_platform=true"),
        ("https://x/", "https://x/api/v3/coins/list?include_platform=true"),
        ("https://x/api/v3", "https://x/api/v3/coins/list?include_platform=true"),
        ("https://x/api/v3/coins/list", "https://x/api/v3/coins/list?include_platform=true"),
        ("https://x/api/v3/coins/list?include_platform=true&key=1", None),
        ("https://x/mirror/coins.json", None),
        ("https://x/api/v3/coins/list/all", None),
        ("coins.json", None),
    ],
)
def test_a_servers_url_is_completed_with_its_endpoint(given: str, expected: str | None) -> None:
    assert coingecko.REQUEST.url(given) == (expected or given)


@pytest.mark.parametrize(
    ("parse", "body", "error"),
    [
        (coingecko.parse, b"[]", "the answer names 0 coins without a single address"),
        (
            coingecko.parse,
            b'[{"id":"a","symbol":"a","platforms":{}}]',
            "the answer names 1 coins without a single address",
        ),
        (coingecko.parse, b'{"status":{"error_code":429}}', "the answer is not a list of coins"),
        (coingecko.parse, b'[{"symbol":"a"}]', "the answer is not a list of coins"),
        (hyperliquid.parse, b'[{"universe":[]},[]]', "none of 0 perpetuals is active"),
        (hyperliquid.parse, b'[{"universe":[{"name":"A"}]},[]]', "the answer has 1 perpetuals and contexts for 0"),
        (hyperliquid.parse, b'[{"universe":[{"name":"A"}]},[{"dayNtlVlm":"x"}]]', "'x' is not a number"),
        (hyperliquid.parse, b"null", "the answer is not metaAndAssetCtxs"),
        (lighter.parse, b'{"funding_rates":[]}', "none of 0 funding rates is Lighter's"),
        (
            lighter.parse,
            b'{"funding_rates":[{"exchange":"bybit","symbol":"A"}]}',
            "none of 1 funding rates is Lighter's",
        ),
        (lighter.parse, b'{"code":29500,"message":"internal"}', "the answer has no funding rates"),
        (token_lists.parse, b'{"tokens":[]}', "the token list is empty"),
        (
            token_lists.parse,
            b'{"tokens":[{"chainId":"1","address":"0x","symbol":"A"}]}',
            "the answer is not a token list",
        ),
        (token_lists.parse, b"\xff\xfe", "the answer is not a token list"),
        (coingecko.parse, b'[{"id":"a","more":' + b"[" * 5000, "the answer is not a list of coins"),
        (hyperliquid.parse, b'[{"more":' + b"[" * 5000, "the answer is not metaAndAssetCtxs"),
        (lighter.parse, b'{"more":' + b"[" * 5000, "the answer has no funding rates"),
        (token_lists.parse, b'{"more":' + b"[" * 5000, "the answer is not a token list"),
    ],
)
def test_an_answer_without_tokens_is_an_error(parse: Callable[[bytes], Any], body: bytes, error: str) -> None:
    with pytest.raises(SourceFailed, match=error):
        parse(body)
