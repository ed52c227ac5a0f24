"""What a log can do to a pool. An event is absolute (Sync, Swap, Initialize) or a difference (LiquidityChange)."""

import msgspec


class Sync(msgspec.Struct, frozen=True, tag="sync"):
    """V2: both reserves after the log."""

    reserve0: int
    reserve1: int


class Initialize(msgspec.Struct, frozen=True, tag="initialize"):
    """V3, V4: the first price. Not on the control wire."""

    sqrt_price_x96: int
    tick: int


class Swap(msgspec.Struct, frozen=True, tag="swap"):
    """V3, V4: price, active liquidity and tick after the swap."""

    sqrt_price_x96: int
    liquidity: int
    tick: int


class LiquidityChange(msgspec.Struct, frozen=True, tag="liquidity"):
    """V3 Mint and Burn, V4 ModifyLiquidity: `delta` over [tick_lower, tick_upper)."""

    tick_lower: int
    tick_upper: int
    delta: int
    """Positive for a mint, negative for a burn, 0 for a poke."""


Event = Sync | Initialize | Swap | LiquidityChange
