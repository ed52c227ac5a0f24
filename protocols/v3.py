"""Uniswap V3 and its forks, PancakeSwap V3 with a Swap of its own. Collect, Flash and the fee logs change no state."""

from collections.abc import Callable, Mapping

from protocols.abi import Declaration, declaration
from protocols.events import Event, Initialize, LiquidityChange, Swap
from protocols.types import Log, PoolId, ProtocolName

NAME: ProtocolName = "v3"


def pool_of(log: Log) -> PoolId:
    return PoolId(log.address)


def _initialize(log: Mapping[str, int]) -> Initialize:
    return Initialize(log["sqrtPriceX96"], log["tick"])


def _swap(log: Mapping[str, int]) -> Swap:
    return Swap(log["sqrtPriceX96"], log["liquidity"], log["tick"])


def _mint(log: Mapping[str, int]) -> LiquidityChange:
    return LiquidityChange(log["tickLower"], log["tickUpper"], log["amount"])


def _burn(log: Mapping[str, int]) -> LiquidityChange:
    return LiquidityChange(log["tickLower"], log["tickUpper"], -log["amount"])


EVENTS: Mapping[Declaration, Callable[[Mapping[str, int]], Event]] = {
    declaration("event Initialize(uint160 sqrtPriceX96, int24 tick)"): _initialize,
    declaration(
        "event Swap(address indexed sender, address indexed recipient, int256 amount0, int256 amount1, "
        "uint160 sqrtPriceX96, uint128 liquidity, int24 tick)"
    ): _swap,
    declaration(
        "event Swap(address indexed sender, address indexed recipient, int256 amount0, int256 amount1, "
        "uint160 sqrtPriceX96, uint128 liquidity, int24 tick, uint128 protocolFeesToken0, uint128 protocolFeesToken1)"
    ): _swap,
    declaration(
        "event Mint(address sender, address indexed owner, int24 indexed tickLower, int24 indexed tickUpper, "
        "uint128 amount, uint256 amount0, uint256 amount1)"
    ): _mint,
    declaration(
        "event Burn(address indexed owner, int24 indexed tickLower, int24 indexed tickUpper, "
        "uint128 amount, uint256 amount0, uint256 amount1)"
    ): _burn,
}
