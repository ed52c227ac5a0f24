"""Each source asked as it wants to be, and its real shapes read; what tells nothing is no good answer."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.source_server import Answering, answering
from tests.support.token_sources import TOKEN_LIST, WORLD, A, B
from whitelist.sources import coingecko, hyperliquid, lighter, token_lists
from whitelist.sources.coingecko import Coin
from whitelist.sources.fetching import fetch
from whitelist.sources.query import SourceFailed


@pytest.fixture
def world() -> Iterator[Answering]:
    with answering(WORLD) as world:
        yield world


async def test_coingecko_is_asked_for_platforms_and_tells_addresses(world: Answering) -> None:
    found = coingecko.read(await fetch(world.url, coingecko.QUESTION, 5))

    assert world.asked == [("GET", "/api/v3/coins/list?include_platform=true", b"")]
    assert found[1] == Coin("chainlink", "link", {"ethereum": A, "base": B, "solana": "So1"})
    assert [coin.id for coin in coingecko.on_several_chains(found, ("ethereum", "base", "arbitrum-one"), 2)] == [
        "chainlink"
    ]
    assert coingecko.on_several_chains(found, ("ethereum", "ethereum", "arbitrum-one"), 2) == []
    assert [coingecko.address_on(found[1], chain) for chain in ("ethereum", "solana", "tron")] == [A, None, None]


async def test_hyperliquid_is_asked_by_post_and_tells_what_is_traded(world: Answering) -> None:
    found = hyperliquid.read(await fetch(f"{world.url}/info", hyperliquid.QUESTION, 5))

    assert world.asked == [("POST", "/info", b'{"type":"metaAndAssetCtxs"}')]
    assert found == ["BTC", "KAS", "PEPE"]


async def test_lighter_tells_its_own_markets_alone(world: Answering) -> None:
    found = lighter.read(await fetch(world.url, lighter.QUESTION, 5))

    assert world.asked == [("GET", "/api/v1/funding-rates", b"")]
    assert found == ["ETH", "PEPE"]


async def test_a_token_list_tells_the_addresses_of_its_chains(world: Answering) -> None:
    found = token_lists.read(await fetch(f"{world.url}/list.json", token_lists.QUESTION, 5))

    assert token_lists.on_chain(found, frozenset({1})) == {A: "LINK"}
    assert token_lists.on_chain(found, frozenset({10, 5})) == {B: "LINK"}


@pytest.mark.parametrize("spelled", ["{}", "file://{}"])
async def test_a_file_answers_like_a_server(tmp_path: Path, spelled: str) -> None:
    path = tmp_path / "a list.json"
    path.write_text(json.dumps(TOKEN_LIST))

    found = token_lists.read(await fetch(spelled.format(path), token_lists.QUESTION, 5))

    assert [token.symbol for token in found] == ["LINK", "LINK", "SOL"]


async def test_the_url_of_a_file_spells_what_a_url_cannot_hold_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a list, 100 %.json"
    path.write_text(json.dumps(TOKEN_LIST))

    found = token_lists.read(await fetch(path.as_uri(), token_lists.QUESTION, 5))

    assert len(found) == 3


@pytest.mark.parametrize(
    ("given", "asked"),
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
def test_the_url_of_a_server_leads_to_its_endpoint(given: str, asked: str | None) -> None:
    assert coingecko.QUESTION.url(given) == (asked or given)


@pytest.mark.parametrize(
    ("read", "body", "said"),
    [
        (coingecko.read, b"[]", "the answer names 0 coins and not one address"),
        (coingecko.read, b'[{"id":"a","symbol":"a","platforms":{}}]', "the answer names 1 coins and not one address"),
        (coingecko.read, b'{"status":{"error_code":429}}', "the answer is no list of coins"),
        (coingecko.read, b'[{"symbol":"a"}]', "the answer is no list of coins"),
        (hyperliquid.read, b'[{"universe":[]},[]]', "none of 0 perpetuals is active"),
        (hyperliquid.read, b'[{"universe":[{"name":"A"}]},[]]', "the answer has 1 perpetuals and contexts for 0"),
        (hyperliquid.read, b'[{"universe":[{"name":"A"}]},[{"dayNtlVlm":"x"}]]', "'x' is no number"),
        (hyperliquid.read, b"null", "the answer is no metaAndAssetCtxs"),
        (lighter.read, b'{"funding_rates":[]}', "none of 0 funding rates is Lighter's"),
        (
            lighter.read,
            b'{"funding_rates":[{"exchange":"bybit","symbol":"A"}]}',
            "none of 1 funding rates is Lighter's",
        ),
        (lighter.read, b'{"code":29500,"message":"internal"}', "the answer has no funding rates"),
        (token_lists.read, b'{"tokens":[]}', "the token list is empty"),
        (token_lists.read, b'{"tokens":[{"chainId":"1","address":"0x","symbol":"A"}]}', "the answer is no token list"),
        (token_lists.read, b"\xff\xfe", "the answer is no token list"),
        (coingecko.read, b'[{"id":"a","more":' + b"[" * 5000, "the answer is no list of coins"),
        (hyperliquid.read, b'[{"more":' + b"[" * 5000, "the answer is no metaAndAssetCtxs"),
        (lighter.read, b'{"more":' + b"[" * 5000, "the answer has no funding rates"),
        (token_lists.read, b'{"more":' + b"[" * 5000, "the answer is no token list"),
    ],
)
def test_an_answer_that_tells_nothing_is_no_good_answer(read: Callable[[bytes], Any], body: bytes, said: str) -> None:
    with pytest.raises(SourceFailed, match=said):
        read(body)
