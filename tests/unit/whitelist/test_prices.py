"""Depths in exact integers, and prices that pools vote for with the money that trades can take out of them."""

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal, getcontext
from fractions import Fraction

import pytest

from protocols.ticks import Tick, sqrt_ratio_at_tick
from protocols.types import PoolId
from whitelist.pricing.depths import Depth, reserves_depth, ticks_depth
from whitelist.pricing.prices import MICRO, PRICE_BITS, Market, anchor_price, derive_prices, micro_usd

USD, WETH, LINK, FAKE = "usd", "weth", "link", "fake"
ANCHORS = {USD: anchor_price(1.0, 6)}
EMPTY_AT_NO_PRICE, EMPTY_AT_A_PRICE = ticks_depth(0, 0, 0, ()), ticks_depth(2**96, 0, 0, ())


def market(name: str, tokens: tuple[str, str], reserves: tuple[int, int]) -> Market:
    found = reserves_depth(*reserves)
    assert found is not None
    return Market(PoolId(name), tokens, found)


def usd(prices: dict[str, int], token: str, decimals: int) -> float:
    """Of one whole token."""
    return micro_usd(10**decimals, prices[token]) / MICRO


def exact_depth(sqrt_price: int, liquidity: int, ticks: Sequence[Tick], factor: Decimal) -> tuple[Decimal, Decimal]:
    """Of both sides up to `factor`, by the formulas of the V3 white paper in decimals of 100 digits."""
    roots = [(Decimal(sqrt_ratio_at_tick(each.tick)) / 2**96, each.liquidity_net) for each in ticks]
    root = Decimal(sqrt_price) / 2**96
    above, below = Decimal(0), Decimal(0)
    low, active, end = root, liquidity, root * factor.sqrt()
    for boundary, net in [*((at, net) for at, net in roots if root < at < end), (end, 0)]:
        above += active * (1 / low - 1 / boundary)
        low, active = boundary, active + net
    high, active, end = root, liquidity, root / factor.sqrt()
    for boundary, net in [*((at, net) for at, net in reversed(roots) if end < at <= root), (end, 0)]:
        below += active * (high - boundary)
        high, active = boundary, active - net
    return above, below


def random_positions(chosen: random.Random) -> tuple[int, int, int, list[Tick]]:
    """sqrt_price_x96, tick, active liquidity and ticks of up to 12 positions around a price, narrow and wide."""
    tick = chosen.randrange(-500_000, 500_000)
    nets: dict[int, int] = {}
    liquidity = 0
    for _ in range(chosen.randrange(1, 12)):
        width = chosen.choice((1, 10, 60, 200, 5_000, 50_000))
        lower = tick + chosen.randrange(-2 * width, width + 1)
        upper, amount = lower + width, chosen.randrange(10**12, 10**30)
        nets[lower], nets[upper] = nets.get(lower, 0) + amount, nets.get(upper, 0) - amount
        liquidity += amount if lower <= tick < upper else 0
    ticks = [Tick(at, abs(net), net) for at, net in sorted(nets.items())]
    return sqrt_ratio_at_tick(tick), tick, liquidity, ticks


@pytest.mark.parametrize("seed", range(60))
def test_the_depth_of_a_tick_pool_is_the_liquidity_between_its_ticks(seed: int) -> None:
    getcontext().prec = 100
    sqrt_price, tick, liquidity, ticks = random_positions(random.Random(seed))
    found = ticks_depth(sqrt_price, tick, liquidity, ticks)

    assert (found is None) == (not liquidity)
    if found is not None:
        doubled = exact_depth(sqrt_price, liquidity, ticks, Decimal(2))
        counted = (
            exact_depth(sqrt_price, liquidity, ticks, Decimal("1.01"))[0],
            exact_depth(sqrt_price, liquidity, ticks, 1 / Decimal("0.99"))[1],
        )
        for amounts, exact in ((found.at_stake, doubled), (found.counted, counted)):
            for amount, expected in zip(amounts, exact, strict=True):
                assert abs(amount - expected) <= len(ticks) + 1 + expected * Decimal(10) ** -12
        assert Fraction(*found.price) == Fraction(sqrt_price**2, 2**192)


def test_a_position_of_one_tick_holds_no_more_than_that_tick() -> None:
    """By its active liquidity alone it would hold a hundred times as much within 1 %."""
    liquidity, at = 10**24, 1_000
    ticks = [Tick(at, liquidity, liquidity), Tick(at + 1, liquidity, -liquidity)]
    price = (sqrt_ratio_at_tick(at) + sqrt_ratio_at_tick(at + 1)) // 2

    narrow = ticks_depth(price, at, liquidity, ticks)
    wide = ticks_depth(price, at, liquidity, [])

    assert narrow is not None and wide is not None
    assert narrow.counted == narrow.at_stake
    assert all(100 * held < assumed for held, assumed in zip(narrow.counted, wide.counted, strict=True))


def test_the_depth_of_a_pair_is_its_reserves() -> None:
    found = reserves_depth(10**24, 4 * 10**12)

    assert found is not None
    assert found.counted == (10**24, 4 * 10**12)
    assert found.price == (4 * 10**12, 10**24)
    assert found.at_stake[0] == pytest.approx(10**24 * (1 - 2**-0.5))
    assert found.at_stake[1] == pytest.approx(4 * 10**12 * (1 - 2**-0.5), abs=1)


@pytest.mark.parametrize("found", [reserves_depth(0, 5), reserves_depth(5, 0), EMPTY_AT_NO_PRICE, EMPTY_AT_A_PRICE])
def test_an_empty_pool_has_no_depth(found: Depth | None) -> None:
    assert found is None


def test_prices_are_derived_over_other_tokens() -> None:
    markets = [
        market("a", (USD, WETH), (3_000_000 * 10**6, 1_000 * 10**18)),
        market("b", (WETH, LINK), (100 * 10**18, 20_000 * 10**18)),
    ]

    prices = derive_prices(ANCHORS, markets, 500 * MICRO)

    assert usd(prices, WETH, 18) == pytest.approx(3000)
    assert usd(prices, LINK, 18) == pytest.approx(15)


def test_the_price_of_the_deeper_pool_wins_in_any_order() -> None:
    markets = [
        market("deep", (USD, WETH), (3_000_000 * 10**6, 1_000 * 10**18)),
        market("shallow", (USD, WETH), (5_000 * 10**6, 1 * 10**18)),
    ]

    for order in (markets, markets[::-1]):
        assert usd(derive_prices(ANCHORS, order, 500 * MICRO), WETH, 18) == pytest.approx(3000)


def test_a_pool_full_of_a_worthless_token_sets_no_price() -> None:
    """A million of a fake against a hundred dollars: it claims a price and has no money for it."""
    markets = [market("fake", (USD, FAKE), (100 * 10**6, 10**6 * 10**18))]

    assert FAKE not in derive_prices(ANCHORS, markets, 500 * MICRO)
    assert FAKE not in derive_prices(ANCHORS, markets, 100 * MICRO + 1)
    assert FAKE in derive_prices(ANCHORS, markets, 100 * MICRO - 1)


def test_a_shallow_pool_does_not_decide_over_a_deeper_path() -> None:
    """LINK over WETH leads through a shallow pool and then a deep one; its own pool with USD holds more."""
    markets = [
        market("shallow", (USD, WETH), (1_000 * 10**6, 10**18)),
        market("deep", (WETH, LINK), (10**6 * 10**18, 10**6 * 10**18)),
        market("medium", (USD, LINK), (15_000 * 10**6, 1_000 * 10**18)),
    ]

    prices = derive_prices(ANCHORS, markets, 500 * MICRO)

    assert usd(prices, LINK, 18) == pytest.approx(15)
    assert usd(prices, WETH, 18) == pytest.approx(15)


def test_pools_of_a_fake_token_set_no_price_of_real_tokens() -> None:
    """Deep in the fake on both sides, but no anchor leads there."""
    markets = [
        market("fake", (FAKE, WETH), (10**30, 10**30)),
        market("real", (USD, WETH), (3_000_000 * 10**6, 1_000 * 10**18)),
        market("bait", (USD, FAKE), (10 * 10**6, 10**12)),
    ]

    prices = derive_prices(ANCHORS, markets, 500 * MICRO)

    assert usd(prices, WETH, 18) == pytest.approx(3000)


def test_an_anchors_price_is_its_own() -> None:
    markets = [market("wild", (USD, WETH), (10**15, 1))]

    assert derive_prices(ANCHORS, markets, 0)[USD] == ANCHORS[USD]
    assert micro_usd(10**6, anchor_price(1.0, 6)) in (MICRO - 1, MICRO)
    assert anchor_price(0.1, 0) == (MICRO // 10) << PRICE_BITS


def test_depths_of_any_size_are_priced() -> None:
    prices = derive_prices(ANCHORS, [Market(PoolId("x"), (USD, WETH), Depth((10**9, 1), (1, 1), (1, 2**200)))], 0)

    assert WETH in prices


def wrong_market(name: str, usd_at_stake: int, *, times: int = 50) -> Market:
    """Between USD and LINK, which it prices at 15 USD times `times`, with so much at stake on either side."""
    amounts = (usd_at_stake * 10**6, usd_at_stake * 10**18 // (15 * times))
    return Market(PoolId(name), (USD, LINK), Depth(amounts, amounts, (amounts[1], amounts[0])))


def test_the_price_that_more_money_vouches_for_wins() -> None:
    """Many pools of little money against one of much, at 50 times the price."""
    real = [wrong_market(f"real {number}", 1_000, times=1) for number in range(10)]

    outvoted = derive_prices(ANCHORS, [*real, wrong_market("wrong", 9_990)], 500 * MICRO)
    bought = derive_prices(ANCHORS, [*real, wrong_market("wrong", 10_010)], 500 * MICRO)

    assert usd(outvoted, LINK, 18) == pytest.approx(15)
    assert usd(bought, LINK, 18) == pytest.approx(750)


def test_a_pool_with_money_on_one_side_only_does_not_vote() -> None:
    one_sided = Depth((10**12, 0), (10**12, 0), (1, 10))

    assert LINK not in derive_prices(ANCHORS, [Market(PoolId("x"), (USD, LINK), one_sided)], 500 * MICRO)


def test_a_token_lends_no_more_support_than_its_own_price_has() -> None:
    """600 USD give FAKE a price; pools full of FAKE then claim a price of LINK."""
    bait = market("bait", (USD, FAKE), (600 * 10**6, 600 * 10**18))
    claims = [market(f"claim {number}", (FAKE, LINK), (10**30, 10**12)) for number in range(100)]
    real = market("real", (USD, LINK), (15_000 * 10**6, 1_000 * 10**18))

    prices = derive_prices(ANCHORS, [bait, *claims, real], 500 * MICRO)

    assert usd(prices, FAKE, 18) == pytest.approx(1, abs=1e-5)
    assert usd(prices, LINK, 18) == pytest.approx(15)


@pytest.mark.parametrize("seed", range(30))
def test_an_attacker_with_less_money_than_the_real_pools_moves_no_price(seed: int) -> None:
    """Real pools of several tokens; the attacker spreads 90 % of one token's money over pools at random prices."""
    chosen = random.Random(seed)
    tokens = {f"t{number}": 10 ** chosen.randrange(0, 4) for number in range(8)}
    worth = {USD: 1} | tokens
    real, at_stake = [], dict.fromkeys(tokens, 0)
    for number in range(60):
        first, second = chosen.sample(sorted(worth), 2)
        amount = chosen.randrange(2_000, 100_000)
        real.append(priced_market(f"real {number}", (first, second), worth, amount))
    for name in tokens:
        real.append(priced_market(f"base {name}", (USD, name), worth, 200_000))
        at_stake[name] = 200_000
    victim = chosen.choice(sorted(tokens))
    shares = [chosen.random() for _ in range(chosen.randrange(1, 30))]
    wrong = [
        priced_market(
            f"wrong {number}",
            (USD, victim),
            worth | {victim: worth[victim] * chosen.choice((3, 50, 10**6))},
            int(0.9 * at_stake[victim] * share / sum(shares)),
        )
        for number, share in enumerate(shares)
    ]
    markets = real + wrong
    chosen.shuffle(markets)

    prices = derive_prices({USD: anchor_price(1.0, 18)}, markets, 500 * MICRO)

    assert {token: round(usd(prices, token, 18)) for token in worth} == worth


def priced_market(name: str, tokens: tuple[str, str], worth: Mapping[str, int], usd_each_side: int) -> Market:
    """Of tokens with 18 decimals, at the prices of `worth`."""
    amounts = (usd_each_side * 10**18 // worth[tokens[0]], usd_each_side * 10**18 // worth[tokens[1]])
    return Market(PoolId(name), tokens, Depth(amounts, amounts, (worth[tokens[0]], worth[tokens[1]])))
