"""What tokens are worth, spread from anchors over pools, by address. PURE.

A price is as sure as the shallowest pool on its way from an anchor, counting in each only what lies on the side whose
price is known already: a pool can claim any price, but not money that is not in it. Each token has the surest price.
"""

import heapq
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from protocols.types import PoolId
from whitelist.pricing.depths import Depth

PRICE_BITS = 192
MICRO = 10**6

Prices = Mapping[str, int]
"""Address to micro-USD per smallest unit of the token, times 2**PRICE_BITS."""


class Market(msgspec.Struct, frozen=True):
    """A pool that may tell prices."""

    id: PoolId
    tokens: tuple[str, str]
    depth: Depth


def anchor_price(usd: float, decimals: int) -> int:
    """Of the smallest unit, when a whole token is worth so much."""
    price = Fraction(Decimal(str(usd))) * MICRO / 10**decimals
    return int(price * (1 << PRICE_BITS))


def spread(anchors: Prices, markets: Sequence[Market], least_micro_usd: int) -> dict[str, int]:
    """The anchors and every token reached over pools whose known side is worth half of `least_micro_usd`."""
    by_token: dict[str, list[Market]] = {}
    for market in markets:
        for token in market.tokens:
            by_token.setdefault(token, []).append(market)
    prices: dict[str, int] = {}
    waiting: list[tuple[float | int, str, int]] = [(-float("inf"), token, price) for token, price in anchors.items()]
    heapq.heapify(waiting)
    while waiting:
        sureness, token, price = heapq.heappop(waiting)
        if token in prices:
            continue
        prices[token] = price
        for market in by_token.get(token, ()):
            side = market.tokens.index(token)
            other = market.tokens[1 - side]
            told = _told(market.depth, side, price)
            if other not in prices and told and 2 * micro_usd(market.depth.whole[side], price) >= least_micro_usd:
                sure = min(-sureness, 2 * micro_usd(market.depth.near[side], price))
                heapq.heappush(waiting, (-sure, other, told))
    return prices


def micro_usd(amount: int, price: int) -> int:
    return amount * price >> PRICE_BITS


def _told(depth: Depth, side: int, price: int) -> int:
    """The other token's price by this pool's."""
    token1, token0 = depth.price
    return price * token0 // token1 if side == 0 else price * token1 // token0
