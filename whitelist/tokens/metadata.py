"""Reads decimals() and symbol() of token contracts at one block."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from streams.node.errors import NodeUnavailable, RpcError
from streams.node.state.pinned_state import CallResult, PinnedState
from streams.snapshots.contract_checks import integers, is_contract_error
from whitelist.contract_abis import DECIMALS, SYMBOL
from whitelist.tokens.chosen import NotAToken, TokenFacts

MAX_DECIMALS = 77
"""10**78 exceeds uint256."""
MAX_SYMBOL_CHARS = 32


class TokenReadFailed(Exception):
    """The node gave no usable answer for a token."""


async def read_tokens(pinned: PinnedState, addresses: Iterable[str]) -> Mapping[str, TokenFacts | NotAToken]:
    """Raises TokenReadFailed, BlockGone, NodeUnavailable.

    Where an error may be the node's own, the token is read again after checking that the node serves the block's
    state. An error that remains is the token's and costs no other token. If every token fails, it is the node's.
    """
    facts = await _read(pinned, sorted(addresses))
    if unclear := [token for token, fact in facts.items() if isinstance(fact, _Ambiguous)]:
        await pinned.check_state()
        facts |= await _read(pinned, unclear)
        _check_some_succeeded(facts)
    return {token: fact.resolved() if isinstance(fact, _Ambiguous) else fact for token, fact in facts.items()}


class _Ambiguous(msgspec.Struct, frozen=True):
    error: RpcError | NodeUnavailable
    if_token_fault: TokenFacts | NotAToken
    """The result where the error is the token's own."""

    def resolved(self) -> TokenFacts | NotAToken:
        """Raises TokenReadFailed."""
        if isinstance(self.error, NodeUnavailable):
            raise TokenReadFailed(f"the node does not answer for a token: {self.error}") from self.error
        return self.if_token_fault


def _check_some_succeeded(facts: Mapping[str, TokenFacts | NotAToken | _Ambiguous]) -> None:
    errors = [
        fact.error
        for fact in facts.values()
        if isinstance(fact, _Ambiguous)
        and isinstance(fact.if_token_fault, NotAToken)
        and isinstance(fact.error, RpcError)
    ]
    if len(errors) == len(facts) > 1:
        raise TokenReadFailed(f"the node answers decimals() of all {len(errors)} tokens with {errors[0]}")


async def _read(pinned: PinnedState, tokens: Sequence[str]) -> dict[str, TokenFacts | NotAToken | _Ambiguous]:
    requests = [pinned.call(token, selector) for selector in (DECIMALS.selector, SYMBOL.selector) for token in tokens]
    answers = await pinned.batch(requests)
    pairs = zip(answers[: len(tokens)], answers[len(tokens) :], strict=True)
    return {token: _facts(token, *pair) for token, pair in zip(tokens, pairs, strict=True)}


def _facts(token: str, decimals: CallResult, symbol: CallResult) -> TokenFacts | NotAToken | _Ambiguous:
    if isinstance(decimals, Exception) and not is_contract_error(decimals):
        return _Ambiguous(decimals, NotAToken(f"the node answers decimals() of {token} with {decimals}"))
    match integers(decimals):
        case [number] if number <= MAX_DECIMALS:
            if isinstance(symbol, Exception) and not is_contract_error(symbol):
                return _Ambiguous(symbol, TokenFacts(number, None))
            return TokenFacts(number, _symbol(symbol))
    shown = "nothing" if isinstance(decimals, Exception) or decimals == "0x" else decimals[:80]
    return NotAToken(f"{token} answers decimals() with {shown}")


def _symbol(answer: CallResult) -> str | None:
    """A string, or a bytes32 as in early tokens."""
    if isinstance(answer, Exception):
        return None
    try:
        raw = bytes.fromhex(answer[2:])
    except ValueError:
        return None
    if len(raw) > 32 and int.from_bytes(raw[:32], "big") == 32:
        raw = raw[64 : 64 + min(int.from_bytes(raw[32:64], "big"), 4 * MAX_SYMBOL_CHARS)]
    text = raw.rstrip(b"\0").decode(errors="replace").strip()[:MAX_SYMBOL_CHARS]
    return text if text and text.isprintable() else None
