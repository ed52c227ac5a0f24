"""Depths in exact integers, and prices propagated from anchors over pools that hold the money."""

import random
from decimal import Decimal, getcontext
from fractions import Fraction

import pytest

from protocols.ticks import sqrt_ratio_at_tick
from protocols.types import PoolId
from protocols.v2 import V2State
from protocols.v3 import V3State
from whitelist.pricing.depths import Depth, depth
from whitelist.pricing.prices import MICRO, PRICE_BITS, Market, anchor_price, micro_usd, propagate_prices

USD, WETH, LINK, FAKE = "usd", "weth", "link", "fake"
ANCHORS = {USD: anchor_price(1.0, 6)}


def market(name: str, tokens: tuple[str, str], reserves: tuple[int, int]) -> Market:
    found = depth(V2State(*reserves))
    assert found is not None
    return Market(PoolId(name), tokens, found)


def usd(prices: dict[str, int], token: str, decimals: int) -> float:
    """Of one whole token."""
    return micro_usd(10**decimals, prices[token]) / MICRO


@pytest.mark.parametrize("seed", range(20))
def test_the_depth_of_a_tick_pool_is_what_one_percent_takes(seed: int) -> None:
    """Against the formulas of the V3 white paper in decimals of 100 digits."""
    getcontext().prec = 100
    chosen = random.Random(seed)
    sqrt_price, liquidity = sqrt_ratio_at_tick(chosen.randrange(-500_000, 500_000)), chosen.randrange(10**6, 10**30)
    found = depth(V3State(sqrt_price, 0, liquidity, ()))

    assert found is not None
    root = Decimal(sqrt_price) / 2**96
    expected = (
        liquidity * (1 / root - 1 / (root * Decimal("1.01").sqrt())),
        liquidity * (root - root * Decimal("0.99").sqrt()),
    )
    for amount, exact in zip(found.near, expected, strict=True):
        assert abs(amount - exact) <= 1 + exact * Decimal(10) ** -15
    assert found.whole == found.near
    assert Fraction(*found.price) == Fraction(sqrt_price**2, 2**192)


def test_the_depth_of_a_pair_is_its_reserves() -> None:
    found = depth(V2State(10**24, 4 * 10**12))

    assert found is not None
    assert found.whole == (10**24, 4 * 10**12)
    assert found.price == (4 * 10**12, 10**24)
    assert found.near[0] == pytest.approx(10**24 * (1 - 1.01**-0.5))
    assert found.near[1] == pytest.approx(4 * 10**12 * (1 - 0.99**0.5), abs=1)


@pytest.mark.parametrize("state", [V2State(0, 5), V2State(5, 0), V3State(0, 0, 0, ()), V3State(2**96, 0, 0, ())])
def test_an_empty_pool_has_no_depth(state: V2State | V3State) -> None:
    assert depth(state) is None


def test_prices_are_propagated_over_other_tokens() -> None:
    markets = [
        market("a", (USD, WETH), (3_000_000 * 10**6, 1_000 * 10**18)),
        market("b", (WETH, LINK), (100 * 10**18, 20_000 * 10**18)),
    ]

    prices = propagate_prices(ANCHORS, markets, 500 * MICRO)

    assert usd(prices, WETH, 18) == pytest.approx(3000)
    assert usd(prices, LINK, 18) == pytest.approx(15)


def test_the_price_of_the_deepest_path_wins_in_any_order() -> None:
    markets = [
        market("deep", (USD, WETH), (3_000_000 * 10**6, 1_000 * 10**18)),
        market("shallow", (USD, WETH), (5_000 * 10**6, 1 * 10**18)),
    ]

    for order in (markets, markets[::-1]):
        assert usd(propagate_prices(ANCHORS, order, 500 * MICRO), WETH, 18) == pytest.approx(3000)


def test_a_pool_full_of_a_worthless_token_sets_no_price() -> None:
    """A million of a fake against a hundred dollars: it claims a price and has no money for it."""
    markets = [market("fake", (USD, FAKE), (100 * 10**6, 10**6 * 10**18))]

    assert FAKE not in propagate_prices(ANCHORS, markets, 500 * MICRO)
    assert FAKE not in propagate_prices(ANCHORS, markets, 200 * MICRO + 1)
    assert FAKE in propagate_prices(ANCHORS, markets, 200 * MICRO - 1)


def test_a_path_is_as_sure_as_its_shallowest_pool() -> None:
    """LINK over WETH has a shallow pool first and a deep one after it: the pool in between is surer than that."""
    markets = [
        market("shallow", (USD, WETH), (1_000 * 10**6, 10**18)),
        market("deep", (WETH, LINK), (10**6 * 10**18, 10**6 * 10**18)),
        market("medium", (USD, LINK), (15_000 * 10**6, 1_000 * 10**18)),
    ]

    prices = propagate_prices(ANCHORS, markets, 500 * MICRO)

    assert usd(prices, LINK, 18) == pytest.approx(15)
    assert usd(prices, WETH, 18) == pytest.approx(15)


def test_pools_of_a_fake_token_set_no_price_of_real_tokens() -> None:
    """Deep in the fake on both sides, but no anchor leads there."""
    markets = [
        market("fake", (FAKE, WETH), (10**30, 10**30)),
        market("real", (USD, WETH), (3_000_000 * 10**6, 1_000 * 10**18)),
        market("bait", (USD, FAKE), (10 * 10**6, 10**12)),
    ]

    prices = propagate_prices(ANCHORS, markets, 500 * MICRO)

    assert usd(prices, WETH, 18) == pytest.approx(3000)


def test_an_anchors_price_is_its_own() -> None:
    markets = [market("wild", (USD, WETH), (10**15, 1))]

    assert propagate_prices(ANCHORS, markets, 0)[USD] == ANCHORS[USD]
    assert micro_usd(10**6, anchor_price(1.0, 6)) in (MICRO - 1, MICRO)
    assert anchor_price(0.1, 0) == (MICRO // 10) << PRICE_BITS


def test_depths_of_any_size_are_priced() -> None:
    prices = propagate_prices(ANCHORS, [Market(PoolId("x"), (USD, WETH), Depth((10**9, 1), (1, 1), (1, 2**200)))], 0)

    assert WETH in prices
