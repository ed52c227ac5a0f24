"""Which tokens are chosen: by address, never by an equal ticker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

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
from whitelist.tokens.selection import ChainNames, SelectedTokens, SourceResults, WrongChain, chain_of, select_tokens

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
        (
            [Coin("own-chain", "x", {}), Coin("copy", "x", {"ethereum": A})],
            "2 coins at CoinGecko: copy, own-chain",
        ),
        ([Coin("real", "x", EVERYWHERE), Coin("copy", "x", {"ethereum": B})], "X is 2 coins at CoinGecko: copy, real"),
        ([Coin("own-chain", "x", {})], "own-chain has no address on ethereum"),
        ([Coin("far", "x", {"base": A})], "far has no address on ethereum"),
    ],
)
def test_an_ambiguous_symbol_is_unresolved(coins: list[Coin], reason: str) -> None:
    found = chosen(SourceResults(coins=coins, lighter=["X"]))

    assert not any("lighter" in sources for sources in found.tokens.values())
    assert reason in found.unresolved["X"]


def test_a_blocked_token_is_chosen_by_no_source() -> None:
    results = SourceResults([Coin("a", "a", EVERYWHERE)], [ListEntry(1, A, "A")], ["A"], ["A"], {A: 100})

    found = chosen(results, blocked=(A,), trusted=(Trusted(address=A, symbol="A"),))

    assert A not in found.tokens


NAMES_OF_A_AND_B: list[tuple[list[Coin], list[ListEntry], tuple[Trusted, ...]]] = [
    ([Coin("real", "x", {"ethereum": A}), Coin("fake", "x", {"ethereum": B})], [], ()),
    ([Coin("real", "x", EVERYWHERE), Coin("fake", "x", {"ethereum": B})], [], ()),
    ([Coin("fake", "x", {"ethereum": B})], [ListEntry(1, A, "X")], ()),
    ([], [ListEntry(1, A, "x"), ListEntry(1, B, "X")], ()),
    ([Coin("fake", "x", {"ethereum": B})], [], (Trusted(address=A, symbol="X"),)),
    ([], [ListEntry(1, B, "X")], (Trusted(address=A, symbol="x"),)),
]
"""Sources for which A and B both have the symbol X."""


@pytest.mark.parametrize(("coins", "listed", "trusted"), NAMES_OF_A_AND_B)
@pytest.mark.parametrize("source", ["hyperliquid", "lighter"])
def test_blocking_a_token_never_gives_its_symbol_to_another(
    coins: list[Coin], listed: list[ListEntry], trusted: tuple[Trusted, ...], source: str
) -> None:
    results = replace(SourceResults(coins, listed), **{source: ["X"]})

    found = chosen(results, blocked=(A,), trusted=trusted)

    assert not any(source in sources for sources in found.tokens.values())
    assert A not in found.tokens
    assert "X" in found.unresolved


def test_the_reason_names_the_blocked_address() -> None:
    found = chosen(SourceResults(listed=[ListEntry(1, A, "X")], lighter=["X"]), blocked=(A,))

    assert found.unresolved == {"X": f"X is {A}, which is blocked"}


def test_an_ambiguous_symbol_stays_so_when_one_candidate_is_blocked() -> None:
    coins = [Coin("real", "x", {"ethereum": A}), Coin("fake", "x", {"ethereum": B})]
    listed = [ListEntry(1, A, "Y"), ListEntry(1, B, "Y")]

    found = chosen(SourceResults(coins, listed, ["X", "Y"]), blocked=(B,))

    assert found.tokens == {A: ("token_lists",)}
    assert found.unresolved.keys() == {"X", "Y"}


def test_a_trusted_symbol_resolves_what_other_sources_leave_ambiguous() -> None:
    coins = [Coin("real", "x", {"ethereum": A}), Coin("fake", "x", {"ethereum": B})]

    found = chosen(SourceResults(coins, hyperliquid=["X"]), blocked=(B,), trusted=(Trusted(address=A, symbol="X"),))

    assert found.tokens == {A: ("trusted", "hyperliquid")}


def test_the_most_transferred_tokens_are_limited_in_number() -> None:
    assert list(chosen(SourceResults(transfers={C: 9, A: 5, B: 1})).tokens) == [A, C]


@pytest.mark.parametrize(
    ("chain_id", "platform", "ids"),
    [(1, "ethereum", {1}), (8453, "base", {8453}), (31337, None, {31337})],
)
def test_a_chain_is_identified_by_its_id(chain_id: int, platform: str | None, ids: frozenset[int]) -> None:
    found = chain_of(chain_id, Configuration(factories=FACTORIES))

    assert (found.platform, found.ids) == (platform, ids)


def test_an_unknown_chain_is_not_taken_for_ethereum() -> None:
    results = SourceResults([Coin("a", "a", EVERYWHERE)], [ListEntry(1, A, "A"), ListEntry(31337, B, "B")], ["A"])
    unknown = chain_of(31337, Configuration(factories=FACTORIES))
    named = chain_of(31337, Configuration(factories=FACTORIES, platform="ethereum"))

    assert chosen(results, unknown).tokens == {B: ("token_lists",)}
    assert chosen(results, named).tokens == {
        A: ("cross_chain", "token_lists", "hyperliquid"),
        B: ("token_lists",),
    }


def test_a_node_of_another_chain_is_refused() -> None:
    configuration = Configuration(factories=FACTORIES, chain_id=1)

    assert chain_of(1, configuration).platform == "ethereum"
    with pytest.raises(WrongChain, match=r"the node's chain id is 137, .* for 1 \(chain_id\)"):
        chain_of(137, configuration)


ADDRESSES = tuple(f"0x{digit * 40}" for digit in "abcdef")
symbols = st.sampled_from(["x", "Y", "z"])
addresses = st.sampled_from(ADDRESSES)
platforms = st.dictionaries(st.sampled_from(["ethereum", "base", "solana"]), addresses, max_size=3)
results = st.builds(
    SourceResults,
    coins=st.lists(st.builds(Coin, st.uuids().map(str), symbols, platforms), max_size=6),
    listed=st.lists(st.builds(ListEntry, st.sampled_from([1, 10]), addresses, symbols), max_size=6),
    hyperliquid=st.lists(st.sampled_from(["X", "Y", "Z"]), unique=True),
    lighter=st.lists(st.sampled_from(["X", "Y", "Z"]), unique=True),
    transfers=st.dictionaries(addresses, st.integers(1, 100), max_size=4),
)
trusted_tokens = st.lists(st.builds(Trusted, address=addresses, symbol=symbols), max_size=3).map(tuple)


@given(results, trusted_tokens, st.sets(addresses))
def test_blocking_takes_the_blocked_tokens_away_and_changes_nothing_else(
    found: SourceResults, trusted: tuple[Trusted, ...], blocked: set[str]
) -> None:
    before = chosen(found, trusted=trusted).tokens
    after = chosen(found, trusted=trusted, blocked=tuple(sorted(blocked))).tokens

    assert after == {address: sources for address, sources in before.items() if address not in blocked}


@given(results, trusted_tokens)
def test_a_symbol_of_an_exchange_needs_a_source_that_gives_its_address(
    found: SourceResults, trusted: tuple[Trusted, ...]
) -> None:
    """By brute force: one address, or nothing, in the first directory that knows the symbol."""
    expected: dict[str, set[str]] = {}
    for exchange, names in (("hyperliquid", found.hyperliquid), ("lighter", found.lighter)):
        for name in names:
            directories = (
                [each.address for each in trusted if each.symbol.upper() == name],
                [each.address for each in found.listed if each.chainId == 1 and symbol_of(found, each) == name],
                [coin.on("ethereum") for coin in found.coins if str(coin.symbol).upper() == name],
            )
            known = next((directory for directory in directories if directory), [])
            is_single = len(known) == 1 if known is directories[2] else len(set(known)) == 1
            if is_single and (address := known[0]) is not None:
                expected.setdefault(address, set()).add(exchange)

    tokens = chosen(found, trusted=trusted).tokens

    by_exchange = {address: set(sources) & {"hyperliquid", "lighter"} for address, sources in tokens.items()}
    assert {address: names for address, names in by_exchange.items() if names} == expected


def symbol_of(found: SourceResults, entry: ListEntry) -> str:
    """Of several entries of one address on the chain the last one counts."""
    return [each.symbol for each in found.listed if each.chainId == 1 and each.address == entry.address][-1].upper()
