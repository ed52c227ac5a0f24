"""Which tokens are chosen: by address, never by an equal ticker."""

import pytest

from whitelist.configuration import (
    Configuration,
    CrossChain,
    Factory,
    Hyperliquid,
    Lighter,
    Sources,
    TokenLists,
    TopTransfers,
    Trusted,
)
from whitelist.sources.coingecko import Coin
from whitelist.sources.token_lists import ListEntry
from whitelist.tokens.selection import ChainNames, SelectedTokens, SourceResults, chain_of, select_tokens

A, B, C = (f"0x{digit * 40}" for digit in "abc")
ETHEREUM = ChainNames("ethereum", frozenset({1}))
FACTORIES = (Factory(protocol="v2", address=A),)
EVERYWHERE: dict[str, str | None] = {"ethereum": A, "base": C}


def chosen(results: SourceResults, chain: ChainNames = ETHEREUM, **changes: object) -> SelectedTokens:
    sources = Sources(
        cross_chain=CrossChain(),
        hyperliquid=Hyperliquid(),
        lighter=Lighter(),
        top_transfers=TopTransfers(count=2),
        token_lists=TokenLists(urls=("list",)),
    )
    return select_tokens(results, Configuration(factories=FACTORIES, **{"sources": sources} | changes), chain)  # type: ignore[arg-type]


def test_a_coin_on_several_chains_is_chosen_on_this_one() -> None:
    coins = [
        Coin("both", "both", EVERYWHERE),
        Coin("here-alone", "one", {"ethereum": B}),
        Coin("elsewhere", "two", {"base": C, "arbitrum-one": C}),
        Coin("not-counted", "three", {"ethereum": B, "solana": "So111"}),
    ]

    assert chosen(SourceResults(coins=coins)).tokens == {A: ("cross_chain",)}


def test_addresses_in_any_case_are_one_token() -> None:
    results = SourceResults(
        coins=[Coin("a", "a", EVERYWHERE | {"ethereum": A.upper().replace("0X", "0x")})], transfers={A: 9}
    )

    assert chosen(results).tokens == {A: ("cross_chain", "top_transfers")}


def test_a_symbol_is_resolved_by_trusted_then_lists_then_coingecko() -> None:
    coins = [Coin("fake", "weth", {"ethereum": C}), Coin("third", "third", {"ethereum": C})]
    listed = [ListEntry(1, B, "LINK"), ListEntry(1, C, "WETH"), ListEntry(10, C, "LINK")]
    results = SourceResults(coins=coins, listed=listed, hyperliquid=["WETH", "LINK", "THIRD"])

    found = chosen(results, trusted=(Trusted(address=A, symbol="WETH"),))

    assert found.tokens[A] == ("trusted", "hyperliquid")
    assert found.tokens[B] == ("token_lists", "hyperliquid")
    assert "hyperliquid" in found.tokens[C]
    assert found.unresolved == {}


@pytest.mark.parametrize(
    ("coins", "reason"),
    [
        ([], "no source gives an address for X"),
        ([Coin("one", "x", {"ethereum": A}), Coin("two", "x", {"ethereum": B})], "X is 2 coins at CoinGecko: one, two"),
        ([Coin("own-chain", "x", {}), Coin("copy", "x", {"ethereum": A})], "one of them with a chain of its own"),
        ([Coin("own-chain", "x", {})], "own-chain has no address on ethereum"),
        ([Coin("far", "x", {"base": A})], "far has no address on ethereum"),
    ],
)
def test_an_ambiguous_symbol_is_unresolved(coins: list[Coin], reason: str) -> None:
    found = chosen(SourceResults(coins=coins, lighter=["X"]))

    assert found.tokens == {}
    assert reason in found.unresolved["X"]


def test_of_several_coins_the_one_on_several_chains_is_meant() -> None:
    coins = [Coin("real", "x", EVERYWHERE), Coin("copy", "x", {"ethereum": B})]

    assert chosen(SourceResults(coins=coins, lighter=["X"])).tokens == {A: ("cross_chain", "lighter")}


def test_a_blocked_token_is_chosen_by_no_source() -> None:
    results = SourceResults([Coin("a", "a", EVERYWHERE)], [ListEntry(1, A, "A")], ["A"], ["A"], {A: 100})

    found = chosen(results, blocked=(A,), trusted=(Trusted(address=A, symbol="A"),))

    assert A not in found.tokens


def test_what_is_blocked_makes_no_symbol_doubtful() -> None:
    coins = [Coin("real", "x", {"ethereum": A}), Coin("copy", "x", {"ethereum": B})]
    listed = [ListEntry(1, A, "Y"), ListEntry(1, B, "Y")]

    found = chosen(SourceResults(coins, listed, ["X", "Y"]), blocked=(B,))

    assert found.tokens[A] == ("token_lists", "hyperliquid")
    assert (set(found.tokens), found.unresolved) == ({A}, {})


def test_the_most_transferred_tokens_are_limited_in_number() -> None:
    assert list(chosen(SourceResults(transfers={C: 9, A: 5, B: 1})).tokens) == [A, C]


@pytest.mark.parametrize(
    ("chain_id", "platform", "ids"),
    [(1, "ethereum", {1}), (8453, "base", {8453}), (31337, "ethereum", {1, 31337})],
)
def test_a_chain_is_identified_by_its_id(chain_id: int, platform: str, ids: frozenset[int]) -> None:
    found = chain_of(chain_id, Configuration(factories=FACTORIES))

    assert (found.platform, found.ids) == (platform, ids)
