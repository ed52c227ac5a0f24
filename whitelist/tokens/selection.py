"""Selects the tokens, each with the sources that chose it. Pure.

A symbol is not an identity. It is resolved only by who gives symbol and address together, in this order: the operator
([[trusted]]), token lists, CoinGecko; and there only if it is unambiguous. A blocked address keeps its symbol: it
counts as a candidate, so blocking a token never lets another one take its name.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from protocols.types import NATIVE
from whitelist.configuration import Configuration
from whitelist.sources.coingecko import Coin, address_on, on_several_chains
from whitelist.sources.token_lists import ListEntry, on_chain

COINGECKO_PLATFORMS: Mapping[int, str] = {
    1: "ethereum",
    10: "optimistic-ethereum",
    56: "binance-smart-chain",
    137: "polygon-pos",
    8453: "base",
    42161: "arbitrum-one",
}


class SourceResults(msgspec.Struct, frozen=True):
    """The answers in use of all sources; empty where there is none."""

    coins: Sequence[Coin] = ()
    listed: Sequence[ListEntry] = ()
    hyperliquid: Sequence[str] = ()
    lighter: Sequence[str] = ()
    transfers: Mapping[str, int] = {}


class SelectedTokens(msgspec.Struct, frozen=True):
    tokens: Mapping[str, tuple[str, ...]]
    """Address to the sources that chose it."""
    unresolved: Mapping[str, str]
    """Symbol to the reason why it has no address."""


class ChainNames(msgspec.Struct, frozen=True):
    platform: str | None
    """CoinGecko's name of the chain; None: unknown, so CoinGecko gives no address on it."""
    ids: frozenset[int]
    """The chain ids under which token lists name it."""


class WrongChain(Exception):
    """The configuration is for another chain than the node's."""


def chain_of(node_chain_id: int, configuration: Configuration) -> ChainNames:
    """Raises WrongChain. A chain of unknown id has only the platform that the configuration names."""
    if configuration.chain_id not in (None, node_chain_id):
        raise WrongChain(
            f"the node's chain id is {node_chain_id}, the whitelist's configuration is for {configuration.chain_id} "
            "(chain_id)"
        )
    platform = configuration.platform or COINGECKO_PLATFORMS.get(node_chain_id)
    same = {chain_id for chain_id, name in COINGECKO_PLATFORMS.items() if name == platform}
    return ChainNames(platform, frozenset({node_chain_id} | same))


def select_tokens(results: SourceResults, configuration: Configuration, chain: ChainNames) -> SelectedTokens:
    """Without blocked tokens."""
    sources = configuration.sources
    chosen: dict[str, list[str]] = {}
    directory = SymbolDirectory(results, configuration, chain)

    def add(source: str, addresses: Iterable[str]) -> None:
        for address in sorted(set(addresses) - set(configuration.blocked)):
            chosen.setdefault(address, []).append(source)

    add("trusted", (trusted.address for trusted in configuration.trusted if trusted.address != NATIVE))
    if sources.cross_chain is not None and sources.cross_chain.enabled:
        coins = on_several_chains(results.coins, sources.cross_chain.chains, sources.cross_chain.min_chains)
        add("cross_chain", filter(None, (address_on(coin, chain.platform) for coin in coins)))
    if sources.token_lists is not None and sources.token_lists.enabled and sources.token_lists.choose:
        add("token_lists", on_chain(results.listed, chain.ids))
    unresolved: dict[str, str] = {}
    for source, symbols in (("hyperliquid", results.hyperliquid), ("lighter", results.lighter)):
        resolutions = {symbol: directory.resolve(symbol) for symbol in symbols}
        add(source, (each.address for each in resolutions.values() if isinstance(each, Resolved)))
        unresolved |= {symbol: each.reason for symbol, each in resolutions.items() if isinstance(each, Unresolved)}
    if sources.top_transfers is not None and sources.top_transfers.enabled:
        add("top_transfers", list(results.transfers)[: sources.top_transfers.count])
    return SelectedTokens({address: tuple(names) for address, names in chosen.items()}, unresolved)


class Resolved(msgspec.Struct, frozen=True):
    address: str


class Unresolved(msgspec.Struct, frozen=True):
    reason: str


class SymbolDirectory:
    """Resolves symbols to addresses."""

    def __init__(self, results: SourceResults, configuration: Configuration, chain: ChainNames) -> None:
        self._platform = chain.platform
        self._blocked = frozenset(configuration.blocked)
        self._trusted = _by_symbol((trusted.symbol, trusted.address) for trusted in configuration.trusted)
        self._listed = _by_symbol((symbol, address) for address, symbol in on_chain(results.listed, chain.ids).items())
        self._coins: dict[str, list[Coin]] = {}
        for coin in results.coins:
            self._coins.setdefault((coin.symbol or "").upper(), []).append(coin)

    def resolve(self, symbol: str) -> Resolved | Unresolved:
        resolution = self._resolve(symbol)
        if isinstance(resolution, Resolved) and resolution.address in self._blocked:
            return Unresolved(f"{symbol} is {resolution.address}, which is blocked")
        return resolution

    def _resolve(self, symbol: str) -> Resolved | Unresolved:
        for authority, known in (("[[trusted]]", self._trusted), ("token lists", self._listed)):
            if addresses := known.get(symbol):
                return _only(symbol, addresses, authority)
        coins = self._coins.get(symbol, [])
        if not coins:
            return Unresolved(f"no source gives an address for {symbol}")
        if len(coins) > 1:
            return Unresolved(f"{symbol} is {len(coins)} coins at CoinGecko: {_some(coin.id for coin in coins)}")
        address = address_on(coins[0], self._platform)
        if address is None:
            return Unresolved(f"{coins[0].id} has no address on {self._platform or 'this chain'}")
        return Resolved(address)


def _by_symbol(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for symbol, address in pairs:
        known.setdefault(symbol.upper(), set()).add(address)
    return known


def _only(symbol: str, addresses: Collection[str], authority: str) -> Resolved | Unresolved:
    if len(addresses) > 1:
        return Unresolved(f"{symbol} is {len(addresses)} addresses in {authority}: {_some(addresses)}")
    return Resolved(next(iter(addresses)))


def _some(names: Iterable[str]) -> str:
    first, *rest = sorted(names)
    return ", ".join([first, *rest[:2]]) + (f" and {len(rest) - 2} more" if len(rest) > 2 else "")
