"""A pool's state as JSON has it over HTTP, in the stream and in a replay: big integers as decimal strings. Pure."""

from collections.abc import Iterable
from functools import cache
from typing import Annotated

import msgspec

from protocols.dex import Fees
from protocols.registry import PriceState, dex_of
from protocols.ticks import Tick
from protocols.types import PoolMetadata, ProtocolName, bounds_of
from streams.kafka.records import LARGEST_DOUBLE

Integer = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+$")]
"""An exact integer as decimal digits."""
FEES = ("lp_fee", "protocol_fee", "fees_block")
"""Where a DEX keeps fees apart from its price; None where they are not known."""


class StateView(msgspec.Struct, frozen=True):
    """Each DEX has its own: `state_layout`."""


class TickView(msgspec.Struct, frozen=True):
    tick: int
    liquidity_gross: Integer
    liquidity_net: Integer


class StateLayout(msgspec.Struct, frozen=True):
    view: type[StateView]
    is_small: dict[str, bool]
    """The fields of a DEX's price, and whether a JSON number holds every value of each."""
    has_fees: bool


def state_view(pool: PoolMetadata, price: PriceState, fees: Fees | None) -> StateView:
    """Fees that are not known are None."""
    layout = state_layout(pool.protocol)
    values = [getattr(price, name) if small else str(getattr(price, name)) for name, small in layout.is_small.items()]
    if not layout.has_fees:
        return layout.view(*values)
    return layout.view(*values, *((fees.lp_fee, fees.protocol_fee, fees.block) if fees else (None, None, None)))


def ticks_view(ticks: Iterable[Tick]) -> list[TickView]:
    return [TickView(tick.tick, str(tick.liquidity_gross), str(tick.liquidity_net)) for tick in ticks]


@cache
def state_layout(protocol: ProtocolName) -> StateLayout:
    """Of a DEX, made from its price."""
    dex = dex_of(protocol)
    price, bounds = dex.model.price, bounds_of(dex.model.price)
    is_small = {name: name in bounds and bounds[name].stop <= LARGEST_DOUBLE for name in price.__struct_fields__}
    fields: list[tuple[str, object]] = [(name, int if small else Integer) for name, small in is_small.items()]
    fields += [(name, int | None) for name in FEES if dex.fees]
    view = msgspec.defstruct(f"{protocol.capitalize()}State", fields, bases=(StateView,), frozen=True)
    assert issubclass(view, StateView)
    return StateLayout(view, is_small, dex.fees is not None)
