"""The whole truth about a pool at the end of one block, as a snapshot carries it."""

import msgspec


class Tick(msgspec.Struct, frozen=True, array_like=True):
    """One initialised tick; on the wire an array [tick, liquidity_gross, liquidity_net]."""

    tick: int
    liquidity_gross: int
    liquidity_net: int
    """What is added to the active liquidity when the price crosses the tick upwards."""


class V2State(msgspec.Struct, frozen=True, tag="v2"):
    reserve0: int
    reserve1: int


class V3State(msgspec.Struct, frozen=True, tag="v3"):
    sqrt_price_x96: int
    """0 before Initialize; tick and liquidity mean nothing then."""
    tick: int
    liquidity: int
    ticks: tuple[Tick, ...]
    """Ascending."""


class V4State(msgspec.Struct, frozen=True, tag="v4"):
    sqrt_price_x96: int
    """0 before Initialize; tick and liquidity mean nothing then."""
    tick: int
    liquidity: int
    ticks: tuple[Tick, ...]
    """Ascending."""
    lp_fee: int
    protocol_fee: int


State = V2State | V3State | V4State
