"""Uniswap V4: one PoolManager emits the logs of all pools and names each by its id in topic1.

A change of the dynamic LP fee emits no log: it is as of a snapshot's block. The protocol's fee follows from its logs.
"""

from collections.abc import Mapping, Sequence

from eth_typing import ABIEvent, ABIFunction

from protocols.abi import event_abi, function_abi, int128
from protocols.concentrated import MODEL, ConcentratedState, Initialize, Price, ProtocolFeeUpdate, Swap
from protocols.dex import Creation, Dex, Fees, GetterCall, Outputs, PoolState, Reads, WireFinal, WireRows, WireUpdate
from protocols.quotes.concentrated import V4_RULES, ConcentratedMarket
from protocols.quotes.hooks import check_hooks
from protocols.quotes.order import PIPS, QuoteRefused, RefusalKind
from protocols.storage import Located, NotAPool, Slots, Words, mapping_slot, price_fields
from protocols.ticks import LiquidityChange
from protocols.types import PoolId, PoolMetadata, State, Uint24

INITIALIZE: ABIEvent = {
    "type": "event",
    "name": "Initialize",
    "inputs": [
        {"name": "id", "type": "bytes32", "indexed": True},
        {"name": "currency0", "type": "address", "indexed": True},
        {"name": "currency1", "type": "address", "indexed": True},
        {"name": "fee", "type": "uint24", "indexed": False},
        {"name": "tickSpacing", "type": "int24", "indexed": False},
        {"name": "hooks", "type": "address", "indexed": False},
        {"name": "sqrtPriceX96", "type": "uint160", "indexed": False},
        {"name": "tick", "type": "int24", "indexed": False},
    ],
}
SWAP: ABIEvent = {
    "type": "event",
    "name": "Swap",
    "inputs": [
        {"name": "id", "type": "bytes32", "indexed": True},
        {"name": "sender", "type": "address", "indexed": True},
        {"name": "amount0", "type": "int128", "indexed": False},
        {"name": "amount1", "type": "int128", "indexed": False},
        {"name": "sqrtPriceX96", "type": "uint160", "indexed": False},
        {"name": "liquidity", "type": "uint128", "indexed": False},
        {"name": "tick", "type": "int24", "indexed": False},
        {"name": "fee", "type": "uint24", "indexed": False},
    ],
}
MODIFY_LIQUIDITY: ABIEvent = {
    "type": "event",
    "name": "ModifyLiquidity",
    "inputs": [
        {"name": "id", "type": "bytes32", "indexed": True},
        {"name": "sender", "type": "address", "indexed": True},
        {"name": "tickLower", "type": "int24", "indexed": False},
        {"name": "tickUpper", "type": "int24", "indexed": False},
        {"name": "liquidityDelta", "type": "int256", "indexed": False},
        {"name": "salt", "type": "bytes32", "indexed": False},
    ],
}
PROTOCOL_FEE_UPDATED: ABIEvent = {
    "type": "event",
    "name": "ProtocolFeeUpdated",
    "inputs": [
        {"name": "id", "type": "bytes32", "indexed": True},
        {"name": "protocolFee", "type": "uint24", "indexed": False},
    ],
}
EXTSLOAD: ABIFunction = {
    "type": "function",
    "name": "extsload",
    "inputs": [{"name": "slot", "type": "bytes32"}],
    "outputs": [{"name": "", "type": "bytes32"}],
}
EXTSLOAD_MANY: ABIFunction = {
    "type": "function",
    "name": "extsload",
    "inputs": [{"name": "slots", "type": "bytes32[]"}],
}
_EXTSLOAD = function_abi(EXTSLOAD)

POOLS_SLOT = 6
"""Of the PoolManager's mapping from id to pool."""


class V4State(ConcentratedState, frozen=True, tag="v4"):
    lp_fee: Uint24
    protocol_fee: Uint24


def slots_of(pool: PoolId) -> Slots:
    base = mapping_slot(int(pool, 16), POOLS_SLOT)
    return Slots(price=base, liquidity=base + 3, ticks=base + 4, bitmap=base + 5)


def _initialize(log: Mapping[str, int]) -> Initialize:
    return Initialize(log["sqrtPriceX96"], log["tick"])


def _swap(log: Mapping[str, int]) -> Swap:
    return Swap(log["sqrtPriceX96"], log["liquidity"], log["tick"])


def _modify_liquidity(log: Mapping[str, int]) -> LiquidityChange:
    """The log has an int256, of which the PoolManager lets only an int128 pass."""
    return LiquidityChange(log["tickLower"], log["tickUpper"], int128("liquidityDelta", log["liquidityDelta"]))


def _protocol_fee_updated(log: Mapping[str, int]) -> ProtocolFeeUpdate:
    return ProtocolFeeUpdate(log["protocolFee"])


def state_of(words: Words) -> V4State:
    """Raises NotAPool for words that no pool can have."""
    sqrt_price_x96, tick, liquidity = price_fields(words)
    if words.price >> 232:
        raise NotAPool(f"the pool's first word is {words.price:#066x}, and only 232 bits of it are used")
    protocol_fee, lp_fee = words.price >> 184 & 0xFFFFFF, words.price >> 208 & 0xFFFFFF
    return V4State(sqrt_price_x96, tick, liquidity, words.ticks, lp_fee, protocol_fee)


def _price_calls(pool: PoolId, manager: str) -> Sequence[GetterCall]:
    slots = slots_of(pool)
    return [GetterCall(manager, _EXTSLOAD, (slot,)) for slot in (slots.price, slots.liquidity)]


def _price(outputs: Outputs) -> Price:
    (price,), (liquidity,) = outputs
    state = state_of(Words(price, 0, liquidity, ()))
    return Price(state.sqrt_price_x96, state.tick, state.liquidity)


def _identity_calls(pool: PoolId, manager: str) -> Sequence[GetterCall]:
    return [GetterCall(manager, _EXTSLOAD, (slots_of(pool).liquidity,))]


def _identify(pool: PoolMetadata, outputs: Outputs) -> Located:
    ((liquidity,),) = outputs
    return Located(slots_of(pool.id), liquidity)


def _fees(state: State, block: int) -> Fees:
    assert isinstance(state, V4State)
    return Fees(state.lp_fee, state.protocol_fee, block)


def swap_fees(fees: Fees) -> tuple[int, int]:
    """Of swaps of token0 and of token1, in pips: the protocol's part is taken first, the LPs' from what is left."""
    zero_for_one, one_for_zero = fees.protocol_fee & 0xFFF, fees.protocol_fee >> 12
    return _swap_fee(zero_for_one, fees.lp_fee), _swap_fee(one_for_zero, fees.lp_fee)


def _swap_fee(protocol_fee: int, lp_fee: int) -> int:
    """ProtocolFeeLibrary.calculateSwapFee."""
    return protocol_fee + lp_fee - protocol_fee * lp_fee // PIPS


def _market(pool: PoolMetadata, state: PoolState, fees: Fees | None) -> ConcentratedMarket:
    check_hooks(pool)
    if fees is None:
        raise QuoteRefused(RefusalKind.FEE_UNKNOWN, "the pool's fees are not known at this block")
    return ConcentratedMarket(state, swap_fees(fees), V4_RULES)


DEX = Dex(
    name="v4",
    logs={
        event_abi(INITIALIZE): _initialize,
        event_abi(SWAP): _swap,
        event_abi(MODIFY_LIQUIDITY): _modify_liquidity,
        event_abi(PROTOCOL_FEE_UPDATED): _protocol_fee_updated,
    },
    state=V4State,
    model=MODEL,
    reads=Reads(
        price_calls=_price_calls,
        price=_price,
        identity_calls=_identity_calls,
        identify=_identify,
        state=state_of,
        slots_getter=function_abi(EXTSLOAD_MANY),
    ),
    creation=Creation(
        event_abi(INITIALIZE),
        pool="id",
        token0="currency0",
        token1="currency1",
        fee="fee",
        tick_spacing="tickSpacing",
        hooks="hooks",
    ),
    market=_market,
    fees=_fees,
    wire=WireRows(
        protocol=2,
        updates=(
            WireUpdate(4, "V4Swap", ("swap",), Swap, "sqrt_price_x96:u256 liquidity:u128 tick:i24"),
            WireUpdate(5, "V4Liquidity", ("mint", "burn"), LiquidityChange, "tick_lower:i24 tick_upper:i24 delta:i128"),
        ),
        final=WireFinal(0, "Slot0Final", "sqrt_price_x96:u256 liquidity:u128 tick:i24", has_protocol=True),
    ),
    is_singleton=True,
)
