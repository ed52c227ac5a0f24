"""Which tokens are chosen, and by whom. PURE.

A symbol is not an identity. It leads to an address only through who gives both, in this order: the operator
([[trusted]]), token lists, coins on several chains, any coin; and there only if nothing else has the symbol too.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from protocols.types import NATIVE
from whitelist.configuration import Configuration
from whitelist.sources.coingecko import Coin, address_on, on_several_chains
from whitelist.sources.token_lists import ListEntry, on_chain

EVM_PLATFORMS: Mapping[int, str] = {
    1: "ethereum",
    10: "optimistic-ethereum",
    56: "binance-smart-chain",
    137: "polygon-pos",
    8453: "base",
    42161: "arbitrum-one",
}
"""CoinGecko's names."""


class SourceResults(msgspec.Struct, frozen=True):
    """What the sources say now, or said last; empty where there is nothing."""

    coins: Sequence[Coin] = ()
    listed: Sequence[ListEntry] = ()
    hyperliquid: Sequence[str] = ()
    lighter: Sequence[str] = ()
    transfers: Mapping[str, int] = {}


class SelectedTokens(msgspec.Struct, frozen=True):
    tokens: Mapping[str, tuple[str, ...]]
    """Address to the names of the sources that chose it."""
    unresolved: Mapping[str, str]
    """A symbol that leads nowhere, and why."""


class ChainNames(msgspec.Struct, frozen=True):
    platform: str
    """CoinGecko's name of it."""
    ids: frozenset[int]
    """Under which token lists know it."""


def chain_of(node_chain_id: int, configuration: Configuration) -> ChainNames:
    """A chain that nobody knows, as one for tests, is taken for the platform that is configured, else for Ethereum."""
    cross_chain = configuration.sources.cross_chain
    named = cross_chain.chains if cross_chain is not None else ()
    unknown = named[0] if named and "ethereum" not in named else "ethereum"
    platform = configuration.platform or EVM_PLATFORMS.get(node_chain_id, unknown)
    same = {chain_id for chain_id, name in EVM_PLATFORMS.items() if name == platform}
    return ChainNames(platform, frozenset({node_chain_id} | same))


def select_tokens(heard: SourceResults, configuration: Configuration, chain: ChainNames) -> SelectedTokens:
    """Without what is blocked."""
    sources = configuration.sources
    chosen: dict[str, list[str]] = {}
    directory = SymbolDirectory(heard, configuration, chain)

    def add(source: str, addresses: Iterable[str]) -> None:
        for address in sorted(set(addresses) - set(configuration.blocked)):
            chosen.setdefault(address, []).append(source)

    add("trusted", (each.address for each in configuration.trusted if each.address != NATIVE))
    if sources.cross_chain is not None and sources.cross_chain.enabled:
        add("cross_chain", directory.cross_chain)
    if sources.token_lists is not None and sources.token_lists.enabled and sources.token_lists.choose:
        add("token_lists", directory.listed)
    unresolved: dict[str, str] = {}
    for source, symbols in (("hyperliquid", heard.hyperliquid), ("lighter", heard.lighter)):
        found = {symbol: directory.address(symbol) for symbol in symbols}
        add(source, (each.address for each in found.values() if isinstance(each, Resolved)))
        unresolved |= {symbol: each.reason for symbol, each in found.items() if isinstance(each, Unresolved)}
    if sources.top_transfers is not None and sources.top_transfers.enabled:
        add("top_transfers", list(heard.transfers)[: sources.top_transfers.count])
    return SelectedTokens({address: tuple(names) for address, names in chosen.items()}, unresolved)


class Resolved(msgspec.Struct, frozen=True):
    address: str


class Unresolved(msgspec.Struct, frozen=True):
    reason: str


class SymbolDirectory:
    """Which address a symbol has, as those say who give both."""

    def __init__(self, heard: SourceResults, configuration: Configuration, chain: ChainNames) -> None:
        cross_chain = configuration.sources.cross_chain
        self._platform = chain.platform
        blocked = set(configuration.blocked)
        coins = [coin for coin in heard.coins if address_on(coin, chain.platform) not in blocked]
        listed = {
            address: symbol
            for address, symbol in on_chain(list(heard.listed), chain.ids).items()
            if address not in blocked
        }
        self._trusted = _by_symbol((each.symbol, each.address) for each in configuration.trusted)
        self._listed = _by_symbol((symbol, address) for address, symbol in listed.items())
        several = (
            on_several_chains(coins, cross_chain.chains, cross_chain.min_chains) if cross_chain is not None else []
        )
        self._several = {coin.id for coin in several}
        self._coins: dict[str, list[Coin]] = {}
        for coin in coins:
            self._coins.setdefault((coin.symbol or "").upper(), []).append(coin)
        self.listed: Collection[str] = listed.keys()
        self.cross_chain = {address for coin in several if (address := address_on(coin, chain.platform))}

    def address(self, symbol: str) -> Resolved | Unresolved:
        for who, known in (("[[trusted]]", self._trusted), ("token lists", self._listed)):
            if addresses := known.get(symbol):
                return _only(symbol, addresses, who)
        coins = self._coins.get(symbol, [])
        if not coins:
            return Unresolved(f"no source gives an address for {symbol}")
        if len(coins) > 1 and not all(coin.has_address for coin in coins):
            return Unresolved(f"{symbol} is {len(coins)} coins at CoinGecko, one of them with a chain of its own")
        likely = [coin for coin in coins if coin.id in self._several] or coins
        if len(likely) > 1:
            return Unresolved(f"{symbol} is {len(likely)} coins at CoinGecko: {_some(coin.id for coin in likely)}")
        address = address_on(likely[0], self._platform)
        return Resolved(address) if address else Unresolved(f"{likely[0].id} has no address on {self._platform}")


def _by_symbol(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for symbol, address in pairs:
        known.setdefault(symbol.upper(), set()).add(address)
    return known


def _only(symbol: str, addresses: Collection[str], who: str) -> Resolved | Unresolved:
    if len(addresses) > 1:
        return Unresolved(f"{symbol} is {len(addresses)} addresses in {who}: {_some(addresses)}")
    return Resolved(next(iter(addresses)))


def _some(names: Iterable[str]) -> str:
    first, *rest = sorted(names)
    return ", ".join([first, *rest[:2]]) + (f" and {len(rest) - 2} more" if len(rest) > 2 else "")
