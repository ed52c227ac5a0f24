"""A pool's state as JSON-ready values, the same over HTTP and in a replay. Pure."""

from collections.abc import Iterable
from typing import Any

from protocols.concentrated import Price
from protocols.folding import Fees, PriceState
from protocols.states import Tick

Json = dict[str, Any]


def state_view(price: PriceState, fees: Fees | None) -> Json:
    """Big numbers are decimal strings; V4's fees are in it where they are known."""
    if not isinstance(price, Price):
        return {"reserve0": str(price.reserve0), "reserve1": str(price.reserve1)}
    view: Json = {
        "sqrt_price_x96": str(price.sqrt_price_x96),
        "tick": price.tick,
        "liquidity": str(price.liquidity),
    }
    if fees:
        view |= {"lp_fee": fees.lp_fee, "protocol_fee": fees.protocol_fee, "fees_block": fees.block}
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
