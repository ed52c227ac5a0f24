"""USD prices of the chosen tokens, from the configured anchors; the wrapped native token has the coin's. Pure."""

import logging
from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from protocols.types import NATIVE
from whitelist.configuration import Configuration
from whitelist.pricing.prices import MICRO, Market, anchor_price, derive_prices
from whitelist.tokens.chosen import ListedToken

log = logging.getLogger(__name__)


def token_prices(
    configuration: Configuration, markets: Sequence[Market], tokens: Mapping[str, ListedToken]
) -> dict[str, int]:
    wrapped = {trusted.address for trusted in configuration.trusted if trusted.wraps_native}
    anchors = {
        _unwrapped(trusted.address, wrapped): anchor_price(trusted.usd, tokens[trusted.address].decimals)
        for trusted in configuration.trusted
        if trusted.usd is not None and trusted.address in tokens
    }
    if not anchors:
        log.warning("no trusted token has a price (usd), so no token has one and no pool can be listed")
    unwrapped = [
        replace(market, tokens=(_unwrapped(market.tokens[0], wrapped), _unwrapped(market.tokens[1], wrapped)))
        for market in markets
    ]
    prices = derive_prices(anchors, unwrapped, int(configuration.price_depth_usd * MICRO))
    return prices | {token: prices[NATIVE] for token in wrapped if NATIVE in prices}


def _unwrapped(token: str, wrapped: Collection[str]) -> str:
    return NATIVE if token in wrapped else token
