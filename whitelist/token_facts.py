"""What tokens say of themselves at one block: their decimals, and the symbol for people to read."""

from collections.abc import Iterable, Mapping

import msgspec

from streams.contracts import THE_CONTRACTS_DOING, integers
from streams.node import RpcError
from streams.pinned import Answer, Pinned

DECIMALS = bytes.fromhex("313ce567")
SYMBOL = bytes.fromhex("95d89b41")
MOST_DECIMALS = 77
"""10**78 is more than a token's amount can be."""
LONGEST_SYMBOL = 32


class TokenFacts(msgspec.Struct, frozen=True):
    decimals: int
    symbol: str | None
    """As the contract says it, which need not be true; None where it says none that can be printed."""


class NoToken(msgspec.Struct, frozen=True):
    reason: str


class TokenUnread(Exception):
    """The node gave no answer."""


async def read_tokens(pinned: Pinned, addresses: Iterable[str]) -> Mapping[str, TokenFacts | NoToken]:
    """Raises TokenUnread, NodeUnavailable."""
    tokens = sorted(addresses)
    requests = [pinned.call(token, question) for question in (DECIMALS, SYMBOL) for token in tokens]
    answers = await pinned.answers(requests)
    pairs = zip(answers[: len(tokens)], answers[len(tokens) :], strict=True)
    return {token: _facts(token, *pair) for token, pair in zip(tokens, pairs, strict=True)}


def _facts(token: str, decimals: Answer, symbol: Answer) -> TokenFacts | NoToken:
    for answer in (decimals, symbol):
        if isinstance(answer, Exception) and not _is_the_contracts_doing(answer):
            raise TokenUnread(f"the node does not tell what {token} is: {answer}") from answer
    match integers(decimals):
        case [number] if number <= MOST_DECIMALS:
            return TokenFacts(number, _symbol(symbol))
    said = "nothing" if isinstance(decimals, Exception) or decimals == "0x" else decimals[:80]
    return NoToken(f"asked for decimals() {token} says {said}")


def _is_the_contracts_doing(error: Exception) -> bool:
    if not isinstance(error, RpcError):
        return False
    return error.code == 3 or any(word in str(error).lower() for word in THE_CONTRACTS_DOING)


def _symbol(answer: Answer) -> str | None:
    """A string, or the bytes32 of the first tokens."""
    if isinstance(answer, Exception):
        return None
    try:
        raw = bytes.fromhex(answer[2:])
    except ValueError:
        return None
    if len(raw) > 32 and int.from_bytes(raw[:32], "big") == 32:
        raw = raw[64 : 64 + min(int.from_bytes(raw[32:64], "big"), 4 * LONGEST_SYMBOL)]
    text = raw.rstrip(b"\0").decode(errors="replace").strip()[:LONGEST_SYMBOL]
    return text if text and text.isprintable() else None
