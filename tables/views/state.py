"""A pool's state as JSON-ready values, the same over HTTP and in a replay. Pure."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from protocols.dex import Fees
from protocols.registry import PriceState, dex_of
from protocols.ticks import Tick
from protocols.types import PoolMetadata, bounds_of
from streams.kafka.records import LARGEST_DOUBLE

Json = dict[str, Any]


def state_view(pool: PoolMetadata, price: PriceState, fees: Fees | None) -> Json:
    """Big numbers are decimal strings; fees that are not known are null."""
    view: Json = {
        name: getattr(price, name) if is_small else str(getattr(price, name))
        for name, is_small in _fields(type(price)).items()
    }
    if fees:
        view |= {"lp_fee": fees.lp_fee, "protocol_fee": fees.protocol_fee, "fees_block": fees.block}
    elif dex_of(pool.protocol).fees:
        view |= {"lp_fee": None, "protocol_fee": None, "fees_block": None}
    return view


def ticks_view(ticks: Iterable[Tick]) -> list[Json]:
    return [
        {
            "tick": tick.tick,
            "liquidity_gross": str(tick.liquidity_gross),
            "liquidity_net": str(tick.liquidity_net),
        }
        for tick in ticks
    ]


@cache
def _fields(price: type[PriceState]) -> dict[str, bool]:
    """The fields of a price, and whether a JSON number holds every value of each."""
    bounds = bounds_of(price)
    return {name: name in bounds and bounds[name].stop <= LARGEST_DOUBLE for name in price.__struct_fields__}
