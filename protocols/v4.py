"""Uniswap V4: one PoolManager speaks for all pools and names each by its id in topic1.

ProtocolFeeUpdated is no event here and a change of the dynamic LP fee emits no log: fees are as of a snapshot's block.
"""

from collections.abc import Callable, Mapping

from protocols.abi import AbiMismatch, Declaration, declaration
from protocols.events import Event, Initialize, LiquidityChange, Swap
from protocols.types import Log, PoolId, ProtocolName

NAME: ProtocolName = "v4"


def pool_of(log: Log) -> PoolId:
    """Raises AbiMismatch for a log that names no pool."""
    if len(log.topics) < 2:
        raise AbiMismatch("no topic1 to name the pool")
    return PoolId("0x" + log.topics[1].hex())


def _initialize(log: Mapping[str, int]) -> Initialize:
    return Initialize(log["sqrtPriceX96"], log["tick"])


def _swap(log: Mapping[str, int]) -> Swap:
    return Swap(log["sqrtPriceX96"], log["liquidity"], log["tick"])


def _modify_liquidity(log: Mapping[str, int]) -> LiquidityChange:
    """The log has an int256, of which the PoolManager lets only an int128 pass."""
    delta = log["liquidityDelta"]
    if not -(1 << 127) <= delta < 1 << 127:
        raise AbiMismatch(f"liquidityDelta is {delta}, no int128")
    return LiquidityChange(log["tickLower"], log["tickUpper"], delta)


INITIALIZE = declaration(
    "event Initialize(bytes32 indexed id, address indexed currency0, address indexed currency1, uint24 fee, "
    "int24 tickSpacing, address hooks, uint160 sqrtPriceX96, int24 tick)"
)
EVENTS: Mapping[Declaration, Callable[[Mapping[str, int]], Event]] = {
    INITIALIZE: _initialize,
    declaration(
        "event Swap(bytes32 indexed id, address indexed sender, int128 amount0, int128 amount1, "
        "uint160 sqrtPriceX96, uint128 liquidity, int24 tick, uint24 fee)"
    ): _swap,
    declaration(
        "event ModifyLiquidity(bytes32 indexed id, address indexed sender, int24 tickLower, int24 tickUpper, "
        "int256 liquidityDelta, bytes32 salt)"
    ): _modify_liquidity,
}
