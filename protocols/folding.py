"""The one entrance to every protocol's state: taken apart into price and ticks, folded, checked, put together."""

from collections.abc import Sequence

import msgspec

from protocols import concentrated
from protocols.concentrated import Price
from protocols.events import Event, Sync
from protocols.states import State, V2State, V3State, V4State
from protocols.ticks import InvariantViolation, Ticks, from_ticks
from protocols.types import PoolMetadata

PriceState = V2State | Price
"""The small part of a state, that nearly every block changes."""


class Fees(msgspec.Struct, frozen=True):
    """V4 only. No log tells of every change, so they are as of the last snapshot."""

    lp_fee: int
    """Hundredths of a basis point."""
    protocol_fee: int
    """Two 12-bit halves: one for each direction."""
    block: int
    """The block as of which they were read."""


class PoolState(msgspec.Struct, frozen=True):
    price: PriceState
    ticks: Ticks


def from_snapshot(pool: PoolMetadata, state: State) -> PoolState:
    """A snapshot's state, checked. Raises InvariantViolation where it cannot be the state of such a pool."""
    if not isinstance(state, {"v2": V2State, "v3": V3State, "v4": V4State}[pool.protocol]):
        raise InvariantViolation(f"a {pool.protocol} pool cannot have a state of {type(state).__name__}")
    if isinstance(state, V2State):
        return PoolState(state, Ticks(1, {}))
    price = Price(state.sqrt_price_x96, state.tick, state.liquidity)
    ticks = from_ticks(pool.tick_spacing or 1, state.ticks)
    concentrated.check_whole(price, ticks)
    return PoolState(price, ticks)


def apply(before: PoolState, events: Sequence[Event]) -> PoolState:
    """Events of one pool in log order. Raises InvariantViolation at the first that does not follow."""
    if isinstance(before.price, Price):
        return PoolState(*concentrated.apply(before.price, before.ticks, events))
    price = before.price
    for event in events:
        if not isinstance(event, Sync):
            raise InvariantViolation(f"a V2 pool cannot have a {type(event).__name__}")
        price = V2State(event.reserve0, event.reserve1)
    return PoolState(price, before.ticks)


def compact(events: Sequence[Event]) -> tuple[Event, ...]:
    """What of a block's events still matters when the block is over."""
    if events and isinstance(events[-1], Sync):
        return (events[-1],)
    return concentrated.compact(events)


def is_initialized(price: PriceState) -> bool:
    return isinstance(price, V2State) or price.sqrt_price_x96 != 0


def differences(ours: PoolState, theirs: PoolState) -> tuple[str, ...]:
    """Names of the fields that are not equal, with both values; ticks by their number."""
    fields = [
        f"{name}: held {getattr(ours.price, name)}, chain {getattr(theirs.price, name)}"
        for name in ours.price.__struct_fields__
        if getattr(ours.price, name) != getattr(theirs.price, name)
    ]
    if ours.ticks.parts != theirs.ticks.parts:
        held, chain = ({tick.tick: tick for tick in side.ticks} for side in (ours, theirs))
        fields += [
            f"tick {tick}: held {held.get(tick)}, chain {chain.get(tick)}"
            for tick in sorted(held.keys() | chain.keys())
            if held.get(tick) != chain.get(tick)
        ]
    return tuple(fields)
