"""Token prices in USD, propagated over pools from anchor tokens. PURE.

A price is as sure as the shallowest pool between the token and an anchor, where each pool counts with the side whose
price is already known: a pool can claim any price, but not money it does not hold. Each token gets its surest price.
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
    """A pool that may set prices."""

    id: PoolId
    tokens: tuple[str, str]
    depth: Depth


def anchor_price(usd: float, decimals: int) -> int:
    """Of the smallest unit, where a whole token is worth `usd`."""
    price = Fraction(Decimal(str(usd))) * MICRO / 10**decimals
    return int(price * (1 << PRICE_BITS))


def propagate_prices(anchors: Prices, markets: Sequence[Market], min_depth_micro_usd: int) -> dict[str, int]:
    """Prices of the anchors, and of every token reached over pools whose known side is worth half of the minimum.

    Dijkstra's algorithm on the widest path: tokens are settled by falling sureness.
    """
    by_token: dict[str, list[Market]] = {}
    for market in markets:
        for token in market.tokens:
            by_token.setdefault(token, []).append(market)
    prices: dict[str, int] = {}
    queue: list[tuple[float | int, str, int]] = [(-float("inf"), token, price) for token, price in anchors.items()]
    heapq.heapify(queue)
    while queue:
        negative_sureness, token, price = heapq.heappop(queue)
        if token in prices:
            continue
        prices[token] = price
        for market in by_token.get(token, ()):
            side = market.tokens.index(token)
            other = market.tokens[1 - side]
            implied = _implied_price(market.depth, side, price)
            known_side = 2 * micro_usd(market.depth.whole[side], price)
            if other not in prices and implied and known_side >= min_depth_micro_usd:
                sureness = min(-negative_sureness, 2 * micro_usd(market.depth.near[side], price))
                heapq.heappush(queue, (-sureness, other, implied))
    return prices


def micro_usd(amount: int, price: int) -> int:
    return amount * price >> PRICE_BITS


def _implied_price(depth: Depth, side: int, price: int) -> int:
    """The other token's price, from this pool's price and that of the token on `side`."""
    token1, token0 = depth.price
    return price * token0 // token1 if side == 0 else price * token1 // token0
