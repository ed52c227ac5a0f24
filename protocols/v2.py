"""Uniswap V2 and its forks: Sync alone has the reserves; Swap, Mint and Burn come with a Sync of their own."""

from collections.abc import Mapping, Sequence

from eth_typing import ABIEvent, ABIFunction

from protocols.abi import event_abi, function_abi
from protocols.dex import (
    Creation,
    Dex,
    Fees,
    GetterCall,
    Outputs,
    PoolState,
    Reads,
    StateModel,
    WireFinal,
    WireRows,
    WireUpdate,
)
from protocols.quotes.constant_product import ConstantProductMarket
from protocols.quotes.pair_fees import PairFork, fee_of
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

FORKS = (
    PairFork(
        "Uniswap V2",
        fee=3000,
        factories=("0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f",),
        init_code_hashes=("0x96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f",),
    ),
    PairFork(
        "SushiSwap V2",
        fee=3000,
        factories=("0xc0aee478e3658e2610c5f7a4a2e1777ce9e4f2ac", "0xc35dadb65012ec5796536bd9864ed8773abc74c4"),
        init_code_hashes=("0xe18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303",),
    ),
    PairFork(
        "PancakeSwap V2",
        fee=2500,
        factories=("0x1097053fd2ea711dad45caccc45eff7548fcb362", "0xca143ce32fe78f1f7019d7d551a6402fc5350c73"),
        init_code_hashes=(
            "0x57224589c67f3f30a6b0d7a1b54cf3153ab84563bc609ef41dfb34f8b2974d2d",
            "0x00fb7f630766e6a796048ea87d01acd3068e8ff67d078148a3fa3f4a84f69bd5",
        ),
    ),
)
"""Pairs of these factories, or with this code, take these fees; a pair's fee cannot be read from it."""


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


def _locked(state: PoolState) -> tuple[int, int]:
    assert isinstance(state.price, V2State)
    return state.price.reserve0, state.price.reserve1


def _market(pool: PoolMetadata, state: PoolState, _: Fees | None) -> ConstantProductMarket:
    assert isinstance(state.price, V2State)
    reserves = (state.price.reserve0, state.price.reserve1)
    return ConstantProductMarket(state.price, reserves, fee_of(pool, FORKS), V2State)


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
    model=StateModel(V2State, (Sync,), _split, _check, _apply, _compact, _is_initialized, _spot_price, _locked),
    reads=Reads(
        price_calls=_get_reserves,
        price=_reserves,
        identity_calls=_get_reserves,
        identify=lambda _pool, outputs: _reserves(outputs),
    ),
    creation=Creation(event_abi(PAIR_CREATED), pool="pair", count=function_abi(ALL_PAIRS_LENGTH)),
    reserves=_both_reserves,
    market=_market,
    wire=WireRows(
        protocol=0,
        updates=(WireUpdate(22, "V2Sync", ("swap", "mint", "burn"), Sync, "reserve0:u128 reserve1:u128"),),
        final=WireFinal(2, "V2ReservesFinal", "reserve0:u128 reserve1:u128", has_protocol=False),
    ),
)
