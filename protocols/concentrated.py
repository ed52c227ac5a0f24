"""Concentrated liquidity, the same in V3 and V4: what events do to price and ticks, and what must always hold."""

from collections.abc import Iterable, Sequence

from protocols import ticks as tick_maths
from protocols.dex import PoolState, StateModel
from protocols.quotes.locked import locked_amounts
from protocols.ticks import InvariantViolation, LiquidityChange, Tick, Ticks, from_ticks
from protocols.types import Event, Int24, PoolMetadata, PriceState, State, Uint24, Uint128, Uint160


class Initialize(Event, frozen=True, tag="initialize"):
    """The first price."""

    sqrt_price_x96: Uint160
    tick: Int24


class Swap(Event, frozen=True, tag="swap"):
    """Price, active liquidity and tick after the swap."""

    sqrt_price_x96: Uint160
    liquidity: Uint128
    tick: Int24


class ProtocolFeeUpdate(Event, frozen=True, tag="protocol_fee"):
    """The protocol's fee from here on; price and ticks stay as they are."""

    protocol_fee: Uint24
    """Two 12-bit halves: one for each direction."""


_ABSOLUTE = (Swap, ProtocolFeeUpdate)
"""Events after which nothing of one of the same kind just before them matters."""


class Price(PriceState, frozen=True, tag="price"):
    sqrt_price_x96: Uint160
    """0 before Initialize."""
    tick: Int24
    liquidity: Uint128
    """Active: that of the positions whose range holds the tick."""


class ConcentratedState(State, frozen=True):
    sqrt_price_x96: Uint160
    """0 before Initialize; tick and liquidity mean nothing then."""
    tick: Int24
    liquidity: Uint128
    ticks: tuple[Tick, ...]
    """Ascending."""


def apply(price: Price, ticks: Ticks, events: Iterable[Event]) -> tuple[Price, Ticks]:
    """Events in log order. Raises InvariantViolation at the first that does not follow from the state before it."""
    for event in events:
        match event:
            case Swap():
                price = _swapped(price, ticks, event)
            case LiquidityChange():
                price, ticks = _liquidity_changed(price, ticks, event)
            case Initialize():
                price = _initialized(price, event)
            case ProtocolFeeUpdate():
                _check_initialized(price)
            case _:
                raise InvariantViolation(f"a pool with ticks cannot have a {type(event).__name__}")
    return price, ticks


def _swapped(price: Price, ticks: Ticks, swap: Swap) -> Price:
    _check_initialized(price)
    tick_maths.check_fits(swap.tick, swap.sqrt_price_x96)
    crossed = (
        tick_maths.net_between(ticks, price.tick, swap.tick)
        if swap.tick >= price.tick
        else -tick_maths.net_between(ticks, swap.tick, price.tick)
    )
    if price.liquidity + crossed != swap.liquidity:
        raise InvariantViolation(
            f"a swap from tick {price.tick} to {swap.tick} leaves liquidity {price.liquidity + crossed}, "
            f"the log says {swap.liquidity}"
        )
    return Price(swap.sqrt_price_x96, swap.tick, swap.liquidity)


def _liquidity_changed(price: Price, ticks: Ticks, change: LiquidityChange) -> tuple[Price, Ticks]:
    _check_initialized(price)
    ticks = tick_maths.changed(ticks, change)
    if not change.tick_lower <= price.tick < change.tick_upper:
        return price, ticks
    liquidity = price.liquidity + change.delta
    if not 0 <= liquidity < tick_maths.UINT128:
        raise InvariantViolation(f"a change of {change.delta} leaves active liquidity {liquidity}")
    return Price(price.sqrt_price_x96, price.tick, liquidity), ticks


def _initialized(price: Price, event: Initialize) -> Price:
    if price.sqrt_price_x96:
        raise InvariantViolation("an initialised pool cannot be initialised again")
    tick_maths.check_fits(event.tick, event.sqrt_price_x96)
    return Price(event.sqrt_price_x96, event.tick, 0)


def _check_initialized(price: Price) -> None:
    if not price.sqrt_price_x96:
        raise InvariantViolation("an uninitialised pool has no swaps, no liquidity and no change of fee")


def check_whole(price: Price, ticks: Ticks) -> None:
    """All invariants of a state; what `apply` keeps, a snapshot must bring. Raises InvariantViolation."""
    if not price.sqrt_price_x96:
        if len(ticks):
            raise InvariantViolation("an uninitialised pool has no ticks")
        return
    tick_maths.check_fits(price.tick, price.sqrt_price_x96)
    for tick in ticks:
        if tick.tick % ticks.spacing or not tick_maths.MIN_TICK <= tick.tick <= tick_maths.MAX_TICK:
            raise InvariantViolation(f"tick {tick.tick} is not one of a pool with tick spacing {ticks.spacing}")
        if not 0 < tick.liquidity_gross < tick_maths.UINT128 or abs(tick.liquidity_net) > tick.liquidity_gross:
            raise InvariantViolation(f"{tick} has net beyond gross, or no gross")
    if total := tick_maths.net_up_to(ticks, tick_maths.MAX_TICK):
        raise InvariantViolation(f"liquidity_net over all ticks adds up to {total}, not 0")
    if (active := tick_maths.net_up_to(ticks, price.tick)) != price.liquidity:
        raise InvariantViolation(f"the ticks up to {price.tick} hold {active}, active liquidity is {price.liquidity}")


def compact(events: Sequence[Event]) -> tuple[Event, ...]:
    """The events without pokes, and without swaps and changes of the fee that another follows immediately."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event, LiquidityChange):
            if event.delta:
                kept.append(event)
        elif kept and type(kept[-1]) is type(event) and isinstance(event, _ABSOLUTE):
            kept[-1] = event
        else:
            kept.append(event)
    return tuple(kept)


def _split(pool: PoolMetadata, state: State) -> PoolState:
    assert isinstance(state, ConcentratedState)
    price = Price(state.sqrt_price_x96, state.tick, state.liquidity)
    return PoolState(price, from_ticks(pool.tick_spacing or 1, state.ticks))


def _check(state: PoolState) -> None:
    assert isinstance(state.price, Price)
    check_whole(state.price, state.ticks)


def _apply(before: PoolState, events: Sequence[Event]) -> PoolState:
    assert isinstance(before.price, Price)
    return PoolState(*apply(before.price, before.ticks, events))


def _is_initialized(price: PriceState) -> bool:
    assert isinstance(price, Price)
    return price.sqrt_price_x96 != 0


def _spot_price(price: PriceState) -> tuple[int, int]:
    assert isinstance(price, Price)
    return price.sqrt_price_x96**2, 1 << 192


def _locked(state: PoolState) -> tuple[int, int]:
    assert isinstance(state.price, Price)
    return locked_amounts(state.price.sqrt_price_x96, state.price.tick, state.ticks)


MODEL = StateModel(
    price=Price,
    events=(Initialize, Swap, LiquidityChange, ProtocolFeeUpdate),
    split=_split,
    check=_check,
    apply=_apply,
    compact=compact,
    is_initialized=_is_initialized,
    spot_price=_spot_price,
    locked=_locked,
)
"""The rules of V3, V4 and their forks."""
