"""Lists in the Uniswap token-list format. They are curated, so they may resolve a symbol to an address. Pure."""

from collections.abc import Sequence

import msgspec

from streams.json_input import InvalidJson, decode_json
from whitelist.sources.query import SourceFailed, SourceRequest, parse_address

REQUEST = SourceRequest()
"""The configured URL, unchanged."""


class ListEntry(msgspec.Struct, frozen=True):
    chainId: int
    address: str
    symbol: str


class _TokenList(msgspec.Struct):
    tokens: list[ListEntry]


_lists = msgspec.json.Decoder(_TokenList)


def parse(body: bytes) -> list[ListEntry]:
    """Raises SourceFailed."""
    try:
        tokens = decode_json(_lists, body).tokens
    except InvalidJson as error:
        raise SourceFailed(f"the answer is not a token list: {error}") from error
    if not tokens:
        raise SourceFailed("the token list is empty")
    return tokens


def on_chain(tokens: Sequence[ListEntry], chain_ids: frozenset[int]) -> dict[str, str]:
    """Address to symbol of the entries on these chains; entries without an EVM address are left out."""
    return {
        address: token.symbol
        for token in tokens
        if token.chainId in chain_ids and (address := parse_address(token.address))
    }
