"""Token prices in USD, derived over pools from anchor tokens. Pure.

Every pool between a token and priced tokens votes for the token's price with the money that trades can take out of it
before its price has doubled or halved: the lesser of both sides. The weighted median wins, so a wrong price costs more
money, which anyone can trade against, than all pools at the right price hold. A priced token lends its votes no more
money than vouches for its own price.
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
AGREEMENT = 2
"""Votes within this factor of the median vouch for it."""

Prices = Mapping[str, int]
"""Address to micro-USD per smallest unit of the token, times 2**PRICE_BITS."""


class Market(msgspec.Struct, frozen=True):
    """A pool that may set prices."""

    id: PoolId
    tokens: tuple[str, str]
    depth: Depth


class Vote(msgspec.Struct, frozen=True):
    price: int
    weight: int
    """Micro-USD."""


def anchor_price(usd: float, decimals: int) -> int:
    """Of the smallest unit, where a whole token is worth `usd`."""
    price = Fraction(Decimal(str(usd))) * MICRO / 10**decimals
    return int(price * (1 << PRICE_BITS))


def derive_prices(anchors: Prices, markets: Sequence[Market], min_depth_micro_usd: int) -> dict[str, int]:
    """Prices of the anchors and of all tokens in pools with them, directly or over other tokens.

    A pool whose side of known price counts less than the minimum does not vote. Tokens are settled by falling support,
    so that a price rests on better supported ones.
    """
    by_token: dict[str, list[Market]] = {}
    for market in markets:
        for token in market.tokens:
            by_token.setdefault(token, []).append(market)
    prices = dict(anchors)
    support: dict[str, int | None] = dict.fromkeys(anchors)
    latest: dict[str, tuple[int, int]] = {}
    queue: list[tuple[int, str, int]] = []

    def settle(token: str, price: int) -> None:
        prices[token] = price
        for other in sorted({each for market in by_token.get(token, ()) for each in market.tokens} - prices.keys()):
            if votes := _votes(other, by_token[other], prices, support, min_depth_micro_usd):
                winner = _median(votes)
                latest[other] = (_support(votes, winner), winner)
                heapq.heappush(queue, (-latest[other][0], other, winner))

    for token, price in anchors.items():
        settle(token, price)
    while queue:
        negative_support, token, price = heapq.heappop(queue)
        if token not in prices and latest[token] == (-negative_support, price):
            support[token] = -negative_support
            settle(token, price)
    return prices


def micro_usd(amount: int, price: int) -> int:
    return amount * price >> PRICE_BITS


def _votes(
    token: str,
    markets: Sequence[Market],
    prices: Prices,
    support: Mapping[str, int | None],
    min_depth_micro_usd: int,
) -> list[Vote]:
    by_neighbour: dict[str, list[Vote]] = {}
    for market in markets:
        known = 1 - market.tokens.index(token)
        neighbour = market.tokens[known]
        if neighbour in prices and (vote := _vote(market.depth, known, prices[neighbour], min_depth_micro_usd)):
            by_neighbour.setdefault(neighbour, []).append(vote)
    return [vote for neighbour, votes in by_neighbour.items() for vote in _within(votes, support[neighbour])]


def _vote(depth: Depth, known: int, price: int, min_depth_micro_usd: int) -> Vote | None:
    """For the price of the token on the other side than `known`; None: too little money, or on one side only."""
    implied = _implied_price(depth, known, price)
    weight = min(micro_usd(depth.at_stake[known], price), micro_usd(depth.at_stake[1 - known], implied))
    if not implied or micro_usd(depth.counted[known], price) < min_depth_micro_usd:
        return None
    return Vote(implied, weight) if weight or not min_depth_micro_usd else None


def _within(votes: Sequence[Vote], support: int | None) -> list[Vote]:
    """Scaled down to the support of the token over which they come; None: an anchor, unlimited."""
    total = sum(vote.weight for vote in votes)
    if support is None or total <= support:
        return list(votes)
    return [Vote(vote.price, vote.weight * support // total) for vote in votes]


def _median(votes: Sequence[Vote]) -> int:
    """By weight; of votes without any weight, by number."""
    ordered = sorted(votes, key=lambda vote: vote.price)
    weights = [vote.weight for vote in ordered]
    if not any(weights):
        weights = [1] * len(ordered)
    half, below = sum(weights), 0
    for vote, weight in zip(ordered, weights, strict=True):
        below += 2 * weight
        if below >= half:
            return vote.price
    return ordered[-1].price


def _support(votes: Sequence[Vote], price: int) -> int:
    return sum(vote.weight for vote in votes if price <= AGREEMENT * vote.price and vote.price <= AGREEMENT * price)


def _implied_price(depth: Depth, known: int, price: int) -> int:
    """The other token's price, from this pool's price and that of the token on the side `known`."""
    token1, token0 = depth.price
    return price * token0 // token1 if known == 0 else price * token1 // token0
