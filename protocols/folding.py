"""The state of a pool of any DEX: made from a snapshot, checked, changed by events, compared."""

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec.structs import replace

from protocols.concentrated import ProtocolFeeUpdate
from protocols.dex import Fees, PoolState, StateModel
from protocols.registry import DEXES, Event, PriceState, State, dex_of
from protocols.ticks import InvariantViolation, Liquidity, Tick
from protocols.types import PoolMetadata

_BY_PRICE: dict[type, StateModel] = {dex.model.price: dex.model for dex in DEXES}
_BY_EVENT: dict[type, StateModel] = {event: dex.model for dex in DEXES for event in dex.model.events}


def from_snapshot(pool: PoolMetadata, state: State) -> PoolState:
    """A snapshot's state, checked. Raises InvariantViolation where it cannot be the state of such a pool."""
    dex = dex_of(pool.protocol)
    if type(state) is not dex.state:
        raise InvariantViolation(f"a {pool.protocol} pool cannot have a state of {type(state).__name__}")
    parts = dex.model.split(pool, state)
    dex.model.check(parts)
    return parts


def check(state: PoolState) -> None:
    """All invariants of a state; what `apply` keeps, a snapshot must bring. Raises InvariantViolation."""
    _BY_PRICE[type(state.price)].check(state)


def apply(before: PoolState, events: Sequence[Event]) -> PoolState:
    """Events of one pool in log order. Raises InvariantViolation at the first that does not follow."""
    return _BY_PRICE[type(before.price)].apply(before, events)


def compact(events: Sequence[Event]) -> tuple[Event, ...]:
    """What of a block's events still matters when the block is over."""
    return _BY_EVENT[type(events[-1])].compact(events) if events else ()


def is_initialized(price: PriceState) -> bool:
    return _BY_PRICE[type(price)].is_initialized(price)


def locked(state: PoolState) -> tuple[int, int] | None:
    """What swaps can take out of a pool at most; None where that does not follow from its state."""
    of_model = _BY_PRICE[type(state.price)].locked
    return of_model(state) if of_model else None


def fees_of(pool: PoolMetadata, state: State, block: int) -> Fees | None:
    """The changing fees that a snapshot at a block brings; None where the pool has none."""
    fees = dex_of(pool.protocol).fees
    return fees(state, block) if fees else None


def fees_after(fees: Fees, events: Sequence[Event]) -> Fees:
    """The protocol's fee as the events of a block leave it; the other fee is still as of the block of its read."""
    changes = [event.protocol_fee for event in events if isinstance(event, ProtocolFeeUpdate)]
    return replace(fees, protocol_fee=changes[-1]) if changes else fees


def differences(ours: PoolState, theirs: PoolState, most: int | None = None) -> tuple[str, ...]:
    """Names of the fields that are not equal, with both values; ticks by their number. The first so many, or all."""
    return tuple(islice(_differences(ours, theirs), most))


def _differences(ours: PoolState, theirs: PoolState) -> Iterator[str]:
    for name in ours.price.__struct_fields__:
        if getattr(ours.price, name) != getattr(theirs.price, name):
            yield f"{name}: held {getattr(ours.price, name)}, chain {getattr(theirs.price, name)}"
    for word in sorted(ours.ticks.parts.keys() | theirs.ticks.parts.keys()):
        held, chain = ours.ticks.parts.get(word, {}), theirs.ticks.parts.get(word, {})
        for tick in sorted(held.keys() | chain.keys() if held != chain else ()):
            if held.get(tick) != chain.get(tick):
                yield f"tick {tick}: held {_tick(tick, held.get(tick))}, chain {_tick(tick, chain.get(tick))}"


def _tick(tick: int, liquidity: Liquidity | None) -> Tick | None:
    return Tick(tick, *liquidity) if liquidity else None
