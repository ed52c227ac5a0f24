"""What tokens say of themselves at one block: their decimals, and the symbol for people to read."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from streams.node.errors import NodeUnavailable, RpcError
from streams.node.pinned_state import CallResult, PinnedState
from streams.node.rate_limits import with_rate_limit_retry
from streams.snapshots.contract_checks import THE_CONTRACTS_DOING, integers

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


async def read_tokens(pinned: PinnedState, addresses: Iterable[str]) -> Mapping[str, TokenFacts | NoToken]:
    """Raises TokenUnread, BlockGone, NodeUnavailable.

    Where the node gives an error that may be its own, the token is asked again, once it is sure that the node does tell
    the block's state; what is an error then too is the token's doing, and stops nothing but that token. Where no token
    at all gets anything else, it is the node's.
    """
    facts = await _read(pinned, sorted(addresses))
    if unclear := [token for token, fact in facts.items() if isinstance(fact, _Unclear)]:
        await pinned.check_state()
        facts |= await _read(pinned, unclear)
        _expect_some_told(facts)
    return {token: fact.told() if isinstance(fact, _Unclear) else fact for token, fact in facts.items()}


class _Unclear(msgspec.Struct, frozen=True):
    error: RpcError | NodeUnavailable
    otherwise: TokenFacts | NoToken
    """What the token is if the error is its own."""

    def told(self) -> TokenFacts | NoToken:
        """Raises TokenUnread."""
        if isinstance(self.error, NodeUnavailable):
            raise TokenUnread(f"the node does not tell what a token is: {self.error}") from self.error
        return self.otherwise


def _expect_some_told(facts: Mapping[str, TokenFacts | NoToken | _Unclear]) -> None:
    errors = [
        fact.error
        for fact in facts.values()
        if isinstance(fact, _Unclear) and isinstance(fact.otherwise, NoToken) and isinstance(fact.error, RpcError)
    ]
    if len(errors) == len(facts) > 1:
        raise TokenUnread(f"asked for decimals() of any of {len(errors)} tokens the node says {errors[0]}")


async def _read(pinned: PinnedState, tokens: Sequence[str]) -> dict[str, TokenFacts | NoToken | _Unclear]:
    requests = [pinned.call(token, question) for question in (DECIMALS, SYMBOL) for token in tokens]
    answers = await with_rate_limit_retry(lambda: pinned.batch(requests))
    pairs = zip(answers[: len(tokens)], answers[len(tokens) :], strict=True)
    return {token: _facts(token, *pair) for token, pair in zip(tokens, pairs, strict=True)}


def _facts(token: str, decimals: CallResult, symbol: CallResult) -> TokenFacts | NoToken | _Unclear:
    if isinstance(decimals, Exception) and not _is_the_contracts_doing(decimals):
        return _Unclear(decimals, NoToken(f"asked for decimals() of {token} the node says {decimals}"))
    match integers(decimals):
        case [number] if number <= MOST_DECIMALS:
            if isinstance(symbol, Exception) and not _is_the_contracts_doing(symbol):
                return _Unclear(symbol, TokenFacts(number, None))
            return TokenFacts(number, _symbol(symbol))
    said = "nothing" if isinstance(decimals, Exception) or decimals == "0x" else decimals[:80]
    return NoToken(f"asked for decimals() {token} says {said}")


def _is_the_contracts_doing(error: Exception) -> bool:
    if not isinstance(error, RpcError):
        return False
    return error.code == 3 or any(word in str(error).lower() for word in THE_CONTRACTS_DOING)


def _symbol(answer: CallResult) -> str | None:
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
