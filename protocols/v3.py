"""Uniswap V3 and its forks, PancakeSwap V3 with a Swap and a storage layout of its own.

Collect, Flash and the fee logs change no state.
"""

from collections.abc import Mapping, Sequence

from eth_typing import ABIEvent, ABIFunction

from protocols.abi import event_abi, function_abi, int128
from protocols.concentrated import MODEL, ConcentratedState, Initialize, Price, Swap
from protocols.dex import Creation, Dex, Fees, GetterCall, Outputs, PoolState, Reads, WireFinal, WireRows, WireUpdate
from protocols.quotes.concentrated import V3_RULES, ConcentratedMarket
from protocols.quotes.order import QuoteRefused, RefusalKind
from protocols.quotes.pool_keys import proven_fee
from protocols.storage import Located, NotAPool, Slots, Words, price_fields
from protocols.ticks import LiquidityChange
from protocols.types import PoolId, PoolMetadata

INITIALIZE: ABIEvent = {
    "type": "event",
    "name": "Initialize",
    "inputs": [
        {"name": "sqrtPriceX96", "type": "uint160", "indexed": False},
        {"name": "tick", "type": "int24", "indexed": False},
    ],
}
SWAP: ABIEvent = {
    "type": "event",
    "name": "Swap",
    "inputs": [
        {"name": "sender", "type": "address", "indexed": True},
        {"name": "recipient", "type": "address", "indexed": True},
        {"name": "amount0", "type": "int256", "indexed": False},
        {"name": "amount1", "type": "int256", "indexed": False},
        {"name": "sqrtPriceX96", "type": "uint160", "indexed": False},
        {"name": "liquidity", "type": "uint128", "indexed": False},
        {"name": "tick", "type": "int24", "indexed": False},
    ],
}
PANCAKE_SWAP: ABIEvent = {
    "type": "event",
    "name": "Swap",
    "inputs": [
        *SWAP["inputs"],
        {"name": "protocolFeesToken0", "type": "uint128", "indexed": False},
        {"name": "protocolFeesToken1", "type": "uint128", "indexed": False},
    ],
}
MINT: ABIEvent = {
    "type": "event",
    "name": "Mint",
    "inputs": [
        {"name": "sender", "type": "address", "indexed": False},
        {"name": "owner", "type": "address", "indexed": True},
        {"name": "tickLower", "type": "int24", "indexed": True},
        {"name": "tickUpper", "type": "int24", "indexed": True},
        {"name": "amount", "type": "uint128", "indexed": False},
        {"name": "amount0", "type": "uint256", "indexed": False},
        {"name": "amount1", "type": "uint256", "indexed": False},
    ],
}
BURN: ABIEvent = {
    "type": "event",
    "name": "Burn",
    "inputs": [
        {"name": "owner", "type": "address", "indexed": True},
        {"name": "tickLower", "type": "int24", "indexed": True},
        {"name": "tickUpper", "type": "int24", "indexed": True},
        {"name": "amount", "type": "uint128", "indexed": False},
        {"name": "amount0", "type": "uint256", "indexed": False},
        {"name": "amount1", "type": "uint256", "indexed": False},
    ],
}
POOL_CREATED: ABIEvent = {
    "type": "event",
    "name": "PoolCreated",
    "inputs": [
        {"name": "token0", "type": "address", "indexed": True},
        {"name": "token1", "type": "address", "indexed": True},
        {"name": "fee", "type": "uint24", "indexed": True},
        {"name": "tickSpacing", "type": "int24", "indexed": False},
        {"name": "pool", "type": "address", "indexed": False},
    ],
}
SLOT0: ABIFunction = {
    "type": "function",
    "name": "slot0",
    "inputs": [],
    "outputs": [
        {"name": "sqrtPriceX96", "type": "uint160"},
        {"name": "tick", "type": "int24"},
        {"name": "observationIndex", "type": "uint16"},
        {"name": "observationCardinality", "type": "uint16"},
        {"name": "observationCardinalityNext", "type": "uint16"},
        {"name": "feeProtocol", "type": "uint32"},  # Uniswap's is a uint8
        {"name": "unlocked", "type": "bool"},
    ],
}
LIQUIDITY: ABIFunction = {
    "type": "function",
    "name": "liquidity",
    "inputs": [],
    "outputs": [{"name": "", "type": "uint128"}],
}
TICK_SPACING: ABIFunction = {
    "type": "function",
    "name": "tickSpacing",
    "inputs": [],
    "outputs": [{"name": "", "type": "int24"}],
}
_SLOT0, _LIQUIDITY, _TICK_SPACING = function_abi(SLOT0), function_abi(LIQUIDITY), function_abi(TICK_SPACING)

UNISWAP_SLOTS = Slots(price=0, liquidity=4, ticks=5, bitmap=6)
PANCAKE_SLOTS = Slots(price=0, liquidity=5, ticks=6, bitmap=7)
FEE_BITS = 232
"""From here up slot 0 of Uniswap holds feeProtocol and `unlocked`; PancakeSwap's 32 fee bits begin the next slot."""


class V3State(ConcentratedState, frozen=True, tag="v3"):
    pass


def _initialize(log: Mapping[str, int]) -> Initialize:
    return Initialize(log["sqrtPriceX96"], log["tick"])


def _swap(log: Mapping[str, int]) -> Swap:
    return Swap(log["sqrtPriceX96"], log["liquidity"], log["tick"])


def _mint(log: Mapping[str, int]) -> LiquidityChange:
    """The log has a uint128, of which the pool lets only what an int128 holds pass."""
    return LiquidityChange(log["tickLower"], log["tickUpper"], int128("amount", log["amount"]))


def _burn(log: Mapping[str, int]) -> LiquidityChange:
    return LiquidityChange(log["tickLower"], log["tickUpper"], -int128("amount", log["amount"]))


def slots_by_layout(_: Slots, price_word: int, next_word: int) -> Slots:
    """By where `unlocked` (1 between transactions) is set. Raises NotAPool where it is set in neither layout.

    An uninitialised pool has nothing to find in either layout.
    """
    if price_word >> FEE_BITS + 8 == 1 or not price_word | next_word:
        return UNISWAP_SLOTS
    if not price_word >> FEE_BITS and next_word >> 32 == 1:
        return PANCAKE_SLOTS
    raise NotAPool(f"slots 0 and 1 hold {price_word:#066x} and {next_word:#066x}, no layout of a V3 pool that is known")


def state_of(words: Words) -> V3State:
    """Raises NotAPool for words that no pool can have."""
    sqrt_price_x96, tick, liquidity = price_fields(words)
    slots_by_layout(UNISWAP_SLOTS, words.price, words.after_price)
    return V3State(sqrt_price_x96, tick, liquidity, words.ticks)


def _price_calls(pool: PoolId, _emitter: str) -> Sequence[GetterCall]:
    return [GetterCall(pool, _SLOT0), GetterCall(pool, _LIQUIDITY)]


def _price(outputs: Outputs) -> Price:
    (sqrt_price_x96, tick, *_), (liquidity,) = outputs
    return Price(sqrt_price_x96, tick, liquidity)


def _identity_calls(pool: PoolId, _emitter: str) -> Sequence[GetterCall]:
    return [GetterCall(pool, _TICK_SPACING), GetterCall(pool, _LIQUIDITY)]


def _identify(pool: PoolMetadata, outputs: Outputs) -> Located:
    (tick_spacing,), (liquidity,) = outputs
    if tick_spacing != pool.tick_spacing:
        raise NotAPool(f"the list says tick spacing {pool.tick_spacing}, the contract says {tick_spacing}")
    return Located(UNISWAP_SLOTS, liquidity)


def _market(pool: PoolMetadata, state: PoolState, _: Fees | None) -> ConcentratedMarket:
    if pool.fee is None:
        raise QuoteRefused(RefusalKind.FEE_UNKNOWN, "the list does not name the pool's fee")
    if (proven := proven_fee(pool)) is not None:
        raise QuoteRefused(RefusalKind.FEE_UNKNOWN, f"the list says fee {pool.fee}, the pool's address says {proven}")
    return ConcentratedMarket(state, (pool.fee, pool.fee), V3_RULES)


DEX = Dex(
    name="v3",
    logs={
        event_abi(INITIALIZE): _initialize,
        event_abi(SWAP): _swap,
        event_abi(PANCAKE_SWAP): _swap,
        event_abi(MINT): _mint,
        event_abi(BURN): _burn,
    },
    state=V3State,
    model=MODEL,
    reads=Reads(
        price_calls=_price_calls,
        price=_price,
        identity_calls=_identity_calls,
        identify=_identify,
        state=state_of,
        slots=slots_by_layout,
        has_fork_layout=True,
        tick_spacing=_TICK_SPACING,
    ),
    creation=Creation(event_abi(POOL_CREATED), pool="pool", fee="fee", tick_spacing="tickSpacing"),
    market=_market,
    wire=WireRows(
        protocol=1,
        updates=(
            WireUpdate(2, "V3Swap", ("swap",), Swap, "sqrt_price_x96:u256 liquidity:u128 tick:i24"),
            WireUpdate(3, "V3Liquidity", ("mint", "burn"), LiquidityChange, "tick_lower:i24 tick_upper:i24 delta:i128"),
        ),
        final=WireFinal(0, "Slot0Final", "sqrt_price_x96:u256 liquidity:u128 tick:i24", has_protocol=True),
    ),
)
