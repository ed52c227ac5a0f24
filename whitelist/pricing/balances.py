"""Reads how much of a token pools and PoolManagers hold, by the token's contract, at one block."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from protocols.abi import call_data
from protocols.types import NATIVE
from streams.node.state.pinned_state import CallResult, PinnedState
from streams.node.transport.hex_values import quantity
from streams.snapshots.contract_checks import integers, is_contract_error
from streams.snapshots.multicall import multicall
from whitelist.contract_abis import BALANCE_OF


class Holding(msgspec.Struct, frozen=True):
    holder: str
    token: str


class BalanceReadFailed(Exception):
    """The node gave no usable answer for a balance."""


async def read_balances(pinned: PinnedState, holdings: Collection[Holding]) -> Mapping[Holding, int]:
    """0 where the token's contract answers no number. Raises BalanceReadFailed, BlockGone, NodeUnavailable."""
    ordered = sorted(holdings, key=lambda holding: (holding.token, holding.holder))
    answers = await _read(pinned, ordered)
    if await pinned.has_shifted():
        answers = await _read(pinned, ordered)
    return {holding: _amount(holding, answer) for holding, answer in zip(ordered, answers, strict=True)}


async def _read(pinned: PinnedState, holdings: Sequence[Holding]) -> Sequence[CallResult]:
    coins = [holding for holding in holdings if holding.token == NATIVE]
    tokens = [holding for holding in holdings if holding.token != NATIVE]
    of_coin = dict(zip(coins, await pinned.batch([pinned.balance(each.holder) for each in coins]), strict=True))
    calls = [(each.token, call_data(BALANCE_OF, [int(each.holder, 16)])) for each in tokens]
    of_tokens = dict(zip(tokens, await multicall(pinned, calls), strict=True))
    return [(of_coin | of_tokens)[holding] for holding in holdings]


def _amount(holding: Holding, answer: CallResult) -> int:
    if isinstance(answer, Exception):
        if is_contract_error(answer):
            return 0
        raise BalanceReadFailed(f"the balance of {holding.token} of {holding.holder} cannot be read: {answer}")
    if holding.token == NATIVE:
        return _coins(holding, answer)
    words = integers(answer)
    return words[0] if len(words) == 1 else 0


def _coins(holding: Holding, answer: str) -> int:
    try:
        return quantity(answer)
    except ValueError as error:
        raise BalanceReadFailed(f"the coins of {holding.holder} cannot be read: {error}") from error
