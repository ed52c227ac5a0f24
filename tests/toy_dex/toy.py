"""A DEX that no chain has: two balances, which a log states and a getter answers. test_toy_dex.py lists it."""

from collections.abc import Mapping, Sequence

from eth_typing import ABIEvent, ABIFunction

from protocols.abi import event_abi, function_abi
from protocols.dex import Creation, Dex, GetterCall, Outputs, PoolState, Reads, StateModel
from protocols.ticks import InvariantViolation, Ticks
from protocols.types import Event, PoolId, PoolMetadata, PriceState, State, Uint128

BALANCES: ABIEvent = {
    "type": "event",
    "name": "Balances",
    "inputs": [
        {"name": "balance0", "type": "uint128", "indexed": False},
        {"name": "balance1", "type": "uint128", "indexed": False},
    ],
}
DEPLOYED: ABIEvent = {
    "type": "event",
    "name": "ToyDeployed",
    "inputs": [
        {"name": "toy", "type": "address", "indexed": False},
        {"name": "token0", "type": "address", "indexed": False},
        {"name": "token1", "type": "address", "indexed": False},
    ],
}
GET_BALANCES: ABIFunction = {
    "type": "function",
    "name": "getBalances",
    "inputs": [],
    "outputs": [{"name": "balance0", "type": "uint128"}, {"name": "balance1", "type": "uint128"}],
}


class Balances(Event, frozen=True, tag="balances"):
    balance0: Uint128
    balance1: Uint128


class ToyState(State, PriceState, frozen=True, tag="toy"):
    balance0: Uint128
    balance1: Uint128


def _balances(log: Mapping[str, int]) -> Balances:
    return Balances(log["balance0"], log["balance1"])


def _split(_: PoolMetadata, state: State) -> PoolState:
    assert isinstance(state, ToyState)
    return PoolState(state, Ticks(1, {}))


def _check(state: PoolState) -> None:
    assert isinstance(state.price, ToyState)
    if not state.price.balance0 + state.price.balance1:
        raise InvariantViolation("a toy always holds something")


def _apply(before: PoolState, events: Sequence[Event]) -> PoolState:
    price = before.price
    for event in events:
        if not isinstance(event, Balances):
            raise InvariantViolation(f"a toy cannot have a {type(event).__name__}")
        price = ToyState(event.balance0, event.balance1)
    return PoolState(price, before.ticks)


def _calls(pool: PoolId, _emitter: str) -> Sequence[GetterCall]:
    return [GetterCall(pool, function_abi(GET_BALANCES))]


def _state(outputs: Outputs) -> ToyState:
    ((balance0, balance1),) = outputs
    return ToyState(balance0, balance1)


DEX = Dex(
    name="toy",
    logs={event_abi(BALANCES): _balances},
    state=ToyState,
    model=StateModel(ToyState, (Balances,), _split, _check, _apply, lambda events: tuple(events[-1:]), lambda _: True),
    reads=Reads(_calls, _state, _calls, lambda _pool, outputs: _state(outputs)),
    creation=Creation(event_abi(DEPLOYED), pool="toy"),
)
