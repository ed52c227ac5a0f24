"""Uniswap V2 and its forks: Sync alone has the reserves; Swap, Mint and Burn come with a Sync of their own."""

from collections.abc import Mapping, Sequence

from eth_typing import ABIEvent, ABIFunction

from protocols.abi import event_abi, function_abi
from protocols.dex import (
    Creation,
    Dex,
    GetterCall,
    Outputs,
    PoolState,
    Reads,
    StateModel,
    WireFinal,
    WireRows,
    WireUpdate,
)
from protocols.ticks import InvariantViolation, Ticks
from protocols.types import Event, PoolId, PoolMetadata, PriceState, State, Uint112

SYNC: ABIEvent = {
    "type": "event",
    "name": "Sync",
    "inputs": [
        {"name": "reserve0", "type": "uint112", "indexed": False},
        {"name": "reserve1", "type": "uint112", "indexed": False},
    ],
}
SOLIDLY_SYNC: ABIEvent = {
    "type": "event",
    "name": "Sync",
    "inputs": [
        {"name": "reserve0", "type": "uint256", "indexed": False},
        {"name": "reserve1", "type": "uint256", "indexed": False},
    ],
}
PAIR_CREATED: ABIEvent = {
    "type": "event",
    "name": "PairCreated",
    "inputs": [
        {"name": "token0", "type": "address", "indexed": True},
        {"name": "token1", "type": "address", "indexed": True},
        {"name": "pair", "type": "address", "indexed": False},
        {"name": "pairs", "type": "uint256", "indexed": False},
    ],
}
GET_RESERVES: ABIFunction = {
    "type": "function",
    "name": "getReserves",
    "inputs": [],
    "outputs": [
        {"name": "reserve0", "type": "uint112"},
        {"name": "reserve1", "type": "uint112"},
        {"name": "blockTimestampLast", "type": "uint32"},
    ],
}
ALL_PAIRS_LENGTH: ABIFunction = {
    "type": "function",
    "name": "allPairsLength",
    "inputs": [],
    "outputs": [{"name": "", "type": "uint256"}],
}
_GET_RESERVES = function_abi(GET_RESERVES)


class Sync(Event, frozen=True, tag="sync"):
    """Both reserves after the log."""

    reserve0: Uint112
    reserve1: Uint112


class V2State(State, PriceState, frozen=True, tag="v2"):
    reserve0: Uint112
    reserve1: Uint112


def _sync(log: Mapping[str, int]) -> Sync:
    return Sync(log["reserve0"], log["reserve1"])


def _split(_: PoolMetadata, state: State) -> PoolState:
    assert isinstance(state, V2State)
    return PoolState(state, Ticks(1, {}))


def _check(_: PoolState) -> None:
    """Any two reserves can be a pair's."""


def _apply(before: PoolState, events: Sequence[Event]) -> PoolState:
    price = before.price
    for event in events:
        if not isinstance(event, Sync):
            raise InvariantViolation(f"a V2 pool cannot have a {type(event).__name__}")
        price = V2State(event.reserve0, event.reserve1)
    return PoolState(price, before.ticks)


def _compact(events: Sequence[Event]) -> tuple[Event, ...]:
    return tuple(events[-1:])


def _both_reserves(state: State) -> tuple[int, int]:
    assert isinstance(state, V2State)
    return state.reserve0, state.reserve1


def _is_initialized(_: PriceState) -> bool:
    return True


def _spot_price(price: PriceState) -> tuple[int, int]:
    assert isinstance(price, V2State)
    return price.reserve1, price.reserve0


def _get_reserves(pool: PoolId, _emitter: str) -> Sequence[GetterCall]:
    """The getter has a pair's whole state, in whatever slot a fork keeps it."""
    return [GetterCall(pool, _GET_RESERVES)]


def _reserves(outputs: Outputs) -> V2State:
    ((reserve0, reserve1, _),) = outputs
    return V2State(reserve0, reserve1)


DEX = Dex(
    name="v2",
    logs={event_abi(SYNC): _sync},
    foreign_logs={event_abi(SOLIDLY_SYNC): "Sync(uint256,uint256), as pairs of Solidly and its forks do"},
    state=V2State,
    model=StateModel(V2State, (Sync,), _split, _check, _apply, _compact, _is_initialized, _spot_price),
    reads=Reads(
        price_calls=_get_reserves,
        price=_reserves,
        identity_calls=_get_reserves,
        identify=lambda _pool, outputs: _reserves(outputs),
    ),
    creation=Creation(event_abi(PAIR_CREATED), pool="pair", count=function_abi(ALL_PAIRS_LENGTH)),
    reserves=_both_reserves,
    wire=WireRows(
        protocol=0,
        updates=(WireUpdate(22, "V2Sync", ("swap", "mint", "burn"), Sync, "reserve0:u128 reserve1:u128"),),
        final=WireFinal(2, "V2ReservesFinal", "reserve0:u128 reserve1:u128", has_protocol=False),
    ),
)
