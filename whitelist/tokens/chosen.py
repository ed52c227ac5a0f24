"""The chosen tokens, with the decimals and symbols that their contracts return. Pure."""

from collections import Counter
from collections.abc import Mapping

import msgspec

from protocols.types import NATIVE
from whitelist.configuration import Configuration
from whitelist.tokens.selection import SelectedTokens

NATIVE_DECIMALS = 18


class TokenFacts(msgspec.Struct, frozen=True):
    decimals: int
    symbol: str | None
    """As the contract claims, for display only; None where it has none that is printable."""


class NotAToken(msgspec.Struct, frozen=True):
    reason: str


class ListedToken(msgspec.Struct, frozen=True):
    address: str
    symbol: str | None
    decimals: int
    sources: tuple[str, ...]
    """The sources that chose it."""


def chosen_tokens(
    selected: SelectedTokens, facts: Mapping[str, TokenFacts | NotAToken], configuration: Configuration
) -> dict[str, ListedToken]:
    """By address, with the native coin unless that is blocked."""
    tokens = {
        address: ListedToken(address, fact.symbol, fact.decimals, selected.tokens[address])
        for address, fact in facts.items()
        if isinstance(fact, TokenFacts)
    }
    if NATIVE not in configuration.blocked:
        tokens[NATIVE] = ListedToken(NATIVE, configuration.native_symbol, NATIVE_DECIMALS, ())
    return tokens


def display_names(tokens: Mapping[str, ListedToken]) -> dict[str, str]:
    """Address to symbol, or to the address itself where several chosen tokens have the symbol."""
    counts = Counter(token.symbol for token in tokens.values())
    return {
        address: token.symbol if token.symbol and counts[token.symbol] == 1 else address
        for address, token in tokens.items()
    }


def unresolved_tokens(
    selected: SelectedTokens, facts: Mapping[str, TokenFacts | NotAToken], configuration: Configuration
) -> dict[str, str]:
    """Symbols and addresses that are not chosen though a source names them, with the reason."""
    not_tokens = {address: fact.reason for address, fact in facts.items() if isinstance(fact, NotAToken)}
    blocked = {address: f"{address} is blocked" for address in configuration.blocked}
    return {**selected.unresolved, **not_tokens, **blocked}
