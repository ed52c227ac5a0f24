"""Lists in the Uniswap token-list format: curated, so their word on which address a symbol has counts."""

import msgspec

from streams.json_input import InvalidJson, decode_json
from whitelist.sources.addresses import address
from whitelist.sources.query import Question, SourceFailed

QUESTION = Question()
"""To whatever URL the list has."""


class ListedToken(msgspec.Struct, frozen=True):
    chainId: int
    address: str
    symbol: str


class _TokenList(msgspec.Struct):
    tokens: list[ListedToken]


_lists = msgspec.json.Decoder(_TokenList)


def read(body: bytes) -> list[ListedToken]:
    """Raises SourceFailed."""
    try:
        tokens = decode_json(_lists, body).tokens
    except InvalidJson as error:
        raise SourceFailed(f"the answer is no token list: {error}") from error
    if not tokens:
        raise SourceFailed("the token list is empty")
    return tokens


def on_chain(tokens: list[ListedToken], chain_ids: frozenset[int]) -> dict[str, str]:
    """Address to symbol; what is no address is left out."""
    return {known: token.symbol for token in tokens if token.chainId in chain_ids and (known := address(token.address))}
