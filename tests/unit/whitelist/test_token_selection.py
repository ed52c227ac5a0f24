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
from whitelist.sources.token_lists import ListedToken
from whitelist.tokens.selection import Chain, Chosen, SourceResults, chain_of, choose

A, B, C = (f"0x{digit * 40}" for digit in "abc")
ETHEREUM = Chain("ethereum", frozenset({1}))
FACTORIES = (Factory("v2", A),)
EVERYWHERE: dict[str, str | None] = {"ethereum": A, "base": C}


def chosen(heard: SourceResults, chain: Chain = ETHEREUM, **changes: object) -> Chosen:
    sources = Sources(CrossChain(), Hyperliquid(), Lighter(), TopTransfers(count=2), TokenLists(urls=("list",)))
    return choose(heard, Configuration(factories=FACTORIES, **{"sources": sources} | changes), chain)  # type: ignore[arg-type]


def test_what_is_on_several_chains_is_chosen_where_it_is() -> None:
    coins = [
        Coin("both", "both", EVERYWHERE),
        Coin("here-alone", "one", {"ethereum": B}),
        Coin("elsewhere", "two", {"base": C, "arbitrum-one": C}),
        Coin("not-counted", "three", {"ethereum": B, "solana": "So111"}),
    ]

    assert chosen(SourceResults(coins=coins)).tokens == {A: ("cross_chain",)}


def test_addresses_come_in_any_case_and_are_one() -> None:
    heard = SourceResults(
        coins=[Coin("a", "a", EVERYWHERE | {"ethereum": A.upper().replace("0X", "0x")})], transfers={A: 9}
    )

    assert chosen(heard).tokens == {A: ("cross_chain", "top_transfers")}


def test_a_symbol_leads_to_the_trusted_then_to_lists_then_to_coins() -> None:
    coins = [Coin("fake", "weth", {"ethereum": C}), Coin("third", "third", {"ethereum": C})]
    listed = [ListedToken(1, B, "LINK"), ListedToken(1, C, "WETH"), ListedToken(10, C, "LINK")]
    heard = SourceResults(coins=coins, listed=listed, hyperliquid=["WETH", "LINK", "THIRD"])

    found = chosen(heard, trusted=(Trusted(A, "WETH"),))

    assert found.tokens[A] == ("trusted", "hyperliquid")
    assert found.tokens[B] == ("token_lists", "hyperliquid")
    assert "hyperliquid" in found.tokens[C]
    assert found.unresolved == {}


@pytest.mark.parametrize(
    ("coins", "reason"),
    [
        ([], "nobody says which address X has"),
        ([Coin("one", "x", {"ethereum": A}), Coin("two", "x", {"ethereum": B})], "X is 2 coins at CoinGecko: one, two"),
        ([Coin("own-chain", "x", {}), Coin("copy", "x", {"ethereum": A})], "one of them with a chain of its own"),
        ([Coin("own-chain", "x", {})], "own-chain has no address on ethereum"),
        ([Coin("far", "x", {"base": A})], "far has no address on ethereum"),
    ],
)
def test_a_symbol_that_could_be_several_is_nobody(coins: list[Coin], reason: str) -> None:
    found = chosen(SourceResults(coins=coins, lighter=["X"]))

    assert found.tokens == {}
    assert reason in found.unresolved["X"]


def test_of_several_coins_the_one_on_several_chains_is_meant() -> None:
    coins = [Coin("real", "x", EVERYWHERE), Coin("copy", "x", {"ethereum": B})]

    assert chosen(SourceResults(coins=coins, lighter=["X"])).tokens == {A: ("cross_chain", "lighter")}


def test_what_is_blocked_is_chosen_by_nobody() -> None:
    heard = SourceResults([Coin("a", "a", EVERYWHERE)], [ListedToken(1, A, "A")], ["A"], ["A"], {A: 100})

    found = chosen(heard, blocked=(A,), trusted=(Trusted(A, "A"),))

    assert A not in found.tokens


def test_what_is_blocked_makes_no_symbol_doubtful() -> None:
    coins = [Coin("real", "x", {"ethereum": A}), Coin("copy", "x", {"ethereum": B})]
    listed = [ListedToken(1, A, "Y"), ListedToken(1, B, "Y")]

    found = chosen(SourceResults(coins, listed, ["X", "Y"]), blocked=(B,))

    assert found.tokens[A] == ("token_lists", "hyperliquid")
    assert (set(found.tokens), found.unresolved) == ({A}, {})


def test_the_most_transferred_are_so_many() -> None:
    assert list(chosen(SourceResults(transfers={C: 9, A: 5, B: 1})).tokens) == [A, C]


@pytest.mark.parametrize(
    ("chain_id", "platform", "ids"),
    [(1, "ethereum", {1}), (8453, "base", {8453}), (31337, "ethereum", {1, 31337})],
)
def test_a_chain_is_known_by_its_node(chain_id: int, platform: str, ids: frozenset[int]) -> None:
    found = chain_of(chain_id, Configuration(factories=FACTORIES))

    assert (found.platform, found.ids) == (platform, ids)
