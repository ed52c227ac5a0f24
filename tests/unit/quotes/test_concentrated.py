"""Quotes of pools with ticks: properties that no swap may break, on any state."""

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols import folding
from protocols.concentrated import Price, Swap, apply
from protocols.dex import PoolState
from protocols.quotes.concentrated import V3_RULES, V4_RULES, ConcentratedMarket
from protocols.quotes.order import MOST_AMOUNT, LiquidityEnds, Order, Quote, QuoteRefused, RefusalKind
from protocols.quotes.quoting import market, quote
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO, tick_at_sqrt_ratio
from protocols.ticks import MAX_TICK, MIN_TICK, Liquidity, Tick, Ticks, from_ticks, sqrt_ratio_at_tick
from protocols.types import PoolId, PoolMetadata, Token
from tests.support.quotes.markets import AMOUNTS, TOKEN0, V3_POOL, markets, pool_state, states

ONE = 1 << 96
FEES = st.sampled_from([0, 100, 500, 3000, 10_000])


def quoted(market: ConcentratedMarket, order: Order) -> Quote:
    try:
        return market.quote(order)
    except QuoteRefused:
        assume(False)
        raise


@given(markets(), st.booleans(), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less_out_and_moves_the_price_no_less(
    market: ConcentratedMarket, zero_for_one: bool, amount: int, more: int
) -> None:
    small, large = (quoted(market, Order(zero_for_one, each)) for each in (amount, amount + more))

    assert small.amount_out <= large.amount_out
    assert small.ticks_crossed <= large.ticks_crossed
    prices = [each.after.sqrt_price_x96 for each in (small, large) if isinstance(each.after, Price)]
    assert prices == sorted(prices, reverse=zero_for_one)


@given(markets(), st.booleans(), AMOUNTS, AMOUNTS)
def test_more_out_never_costs_less_in(market: ConcentratedMarket, zero_for_one: bool, amount: int, more: int) -> None:
    small, large = (quoted(market, Order(zero_for_one, each, exact_out=True)) for each in (amount, amount + more))

    assert small.amount_in <= large.amount_in
    assert (small.amount_out, large.amount_out) == (amount, amount + more)


@given(markets(), st.booleans(), AMOUNTS)
def test_what_comes_out_can_be_bought_for_what_went_in_or_less(
    market: ConcentratedMarket, zero_for_one: bool, amount: int
) -> None:
    """But where the output is all that a step has, rounded down: then the contract takes the whole step's input."""
    sold = quoted(market, Order(zero_for_one, amount))
    assume(sold.amount_out)

    bought = market.quote(Order(zero_for_one, sold.amount_out, exact_out=True))
    again = market.quote(Order(zero_for_one, bought.amount_in))

    assert isinstance(bought.after, Price)
    end = bought.after.sqrt_price_x96
    assert bought.amount_in <= amount or end == sqrt_ratio_at_tick(tick_at_sqrt_ratio(end))
    assert again.amount_out == bought.amount_out == sold.amount_out


@given(states(), FEES, st.booleans(), AMOUNTS, AMOUNTS)
def test_splitting_gains_no_more_than_the_roundings_of_the_steps(
    state: PoolState, fee: int, zero_for_one: bool, first: int, second: int
) -> None:
    market = ConcentratedMarket(state, (fee, fee), V3_RULES)
    one = quoted(market, Order(zero_for_one, first))
    two = quoted(
        ConcentratedMarket(PoolState(one.after, state.ticks), (fee, fee), V3_RULES), Order(zero_for_one, second)
    )

    roundings = 2 * (one.ticks_crossed + two.ticks_crossed) + 4
    whole = quoted(market, Order(zero_for_one, first + second + roundings))

    assert one.amount_out + two.amount_out <= whole.amount_out


@given(markets(), st.booleans(), st.booleans(), AMOUNTS)
def test_no_swap_is_better_than_the_mid_price(
    market: ConcentratedMarket, zero_for_one: bool, exact_out: bool, amount: int
) -> None:
    swap = quoted(market, Order(zero_for_one, amount, exact_out))

    assert isinstance(swap.before, Price)
    mid = Fraction(swap.before.sqrt_price_x96**2, 1 << 192)
    assert swap.amount_out <= swap.amount_in * (mid if zero_for_one else 1 / mid)
    assert 0 <= swap.fee_amount <= swap.amount_in


@given(states(), FEES, st.booleans(), st.booleans(), AMOUNTS)
def test_the_state_after_is_what_the_swaps_log_would_lead_to(
    state: PoolState, fee: int, zero_for_one: bool, exact_out: bool, amount: int
) -> None:
    swap = quoted(ConcentratedMarket(state, (fee, fee), V3_RULES), Order(zero_for_one, amount, exact_out))
    assert isinstance(state.price, Price) and isinstance(swap.before, Price) and isinstance(swap.after, Price)

    log = Swap(swap.after.sqrt_price_x96, swap.after.liquidity, swap.after.tick)

    low, high = sorted((swap.before.tick, swap.after.tick))
    assert swap.ticks_crossed == sum(low < each.tick <= high for each in state.ticks)
    assert apply(state.price, state.ticks, [log]) == (swap.after, state.ticks)


@given(states(), FEES, st.booleans(), st.booleans(), AMOUNTS)
def test_v3_and_v4_differ_only_in_what_they_call_fee(
    state: PoolState, fee: int, zero_for_one: bool, exact_out: bool, amount: int
) -> None:
    v3, v4 = (
        quoted(ConcentratedMarket(state, (fee, fee), rules), Order(zero_for_one, amount, exact_out))
        for rules in (V3_RULES, V4_RULES)
    )

    assert (v3.amount_in, v3.amount_out, v3.after) == (v4.amount_in, v4.amount_out, v4.after)
    assert v3.fee_amount >= v4.fee_amount


@given(states(), st.booleans(), st.integers(0, 10**6))
def test_at_a_price_limit_the_swap_stops_with_part_of_the_amount(
    state: PoolState, zero_for_one: bool, share: int
) -> None:
    market = ConcentratedMarket(state, (500, 500), V3_RULES)
    assert isinstance(state.price, Price)
    price = state.price.sqrt_price_x96
    end = MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1
    limit = price + (end - price) * share // 10**6
    assume(limit != price and (end - price) * (1 - 2 * zero_for_one) > 0)

    swap = market.quote(Order(zero_for_one, MOST_AMOUNT, sqrt_price_limit_x96=limit))

    assert isinstance(swap.after, Price)
    assert swap.after.sqrt_price_x96 == limit
    if swap.amount_out:
        less = market.quote(Order(zero_for_one, swap.amount_in, sqrt_price_limit_x96=limit))
        assert (less.amount_in, less.amount_out) == (swap.amount_in, swap.amount_out)


@given(markets(), st.booleans(), st.integers(1, 60))
def test_depth_is_what_quotes_up_to_the_same_prices_give(
    market: ConcentratedMarket, zero_for_one: bool, points: int
) -> None:
    found = market.depth(zero_for_one=zero_for_one, points=points)

    assert len(found) <= points
    for each in found:
        assert isinstance(each.after, Price)
        assert market.quote(Order(zero_for_one, MOST_AMOUNT, False, each.after.sqrt_price_x96)) == each
    assert [each.amount_in for each in found] == sorted(each.amount_in for each in found)


@given(states())
def test_swaps_can_take_out_what_is_locked_but_for_the_roundings_of_their_steps(state: PoolState) -> None:
    market = ConcentratedMarket(state, (0, 0), V3_RULES)
    assert isinstance(state.price, Price)

    locked = folding.locked(state)

    assert locked is not None
    for zero_for_one in (True, False):
        try:
            end = MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1
            drained = market.quote(Order(zero_for_one, MOST_AMOUNT, False, end)).amount_out
        except QuoteRefused:
            continue
        assert drained <= locked[zero_for_one] <= drained + 2 * 887272 // (256 * state.ticks.spacing) + 20


@given(
    st.one_of(
        st.integers(MIN_SQRT_RATIO, MAX_SQRT_RATIO - 1), st.integers(MIN_TICK, MAX_TICK - 1).map(sqrt_ratio_at_tick)
    )
)
def test_the_tick_of_a_price_is_the_greatest_that_is_not_above_it(price: int) -> None:
    tick = tick_at_sqrt_ratio(price)

    assert sqrt_ratio_at_tick(tick) <= price < sqrt_ratio_at_tick(tick + 1)
    below = tick_at_sqrt_ratio(price - 1) if price > MIN_SQRT_RATIO else None
    assert below is None or below == (tick - 1 if price == sqrt_ratio_at_tick(tick) else tick)


def test_known_amounts_within_one_range() -> None:
    """At price 1 liquidity is both virtual reserves: 1000 with 997 after the fee gives 1000 * 997 / 1997."""
    state = pool_state(60, [(-887220, 887220, 1000 * 10**18)], ONE)

    swap = quote(V3_POOL, state, Order(zero_for_one=True, amount=10**21))

    assert swap.amount_out == 10**21 * 997 // 1997
    assert (swap.amount_in, swap.fee_amount, swap.ticks_crossed) == (10**21, 3 * 10**18, 0)


def test_liquidity_of_one_tick_is_drained_to_its_end_and_not_beyond() -> None:
    state = pool_state(1, [(0, 1, 10**18)], ONE)
    market = ConcentratedMarket(state, (0, 0), V3_RULES)
    most = market.quote(Order(False, MOST_AMOUNT, False, MAX_SQRT_RATIO - 1))

    exact = market.quote(Order(False, most.amount_in))
    with pytest.raises(LiquidityEnds) as refused:
        market.quote(Order(False, most.amount_in + 1))

    assert (exact.amount_in, exact.amount_out) == (most.amount_in, most.amount_out)
    assert isinstance(exact.after, Price)
    assert (exact.after.tick, exact.after.liquidity, exact.ticks_crossed) == (1, 0, 1)
    assert (refused.value.most_amount_in, refused.value.most_amount_out) == (most.amount_in, most.amount_out)
    assert str(most.amount_in) in str(refused.value)


def test_a_gap_is_crossed_to_liquidity_beyond_it() -> None:
    state = pool_state(1, [(0, 1, 10**18), (700_000, 700_001, 10**18)], ONE)

    swap = ConcentratedMarket(state, (0, 0), V3_RULES).quote(Order(False, 10**28))

    assert isinstance(swap.after, Price)
    assert (swap.after.tick, swap.ticks_crossed) == (700_000, 2)


@pytest.mark.parametrize("limit", [0, 1, MIN_SQRT_RATIO, ONE, ONE + 1, MAX_SQRT_RATIO, 2**200])
def test_a_price_limit_that_the_contract_refuses_is_refused(limit: int) -> None:
    market = ConcentratedMarket(pool_state(60, [(-60, 60, 10**18)], ONE), (0, 0), V3_RULES)

    with pytest.raises(QuoteRefused) as refused:
        market.quote(Order(True, 10, sqrt_price_limit_x96=limit))

    assert refused.value.kind is RefusalKind.PRICE_LIMIT


@pytest.mark.parametrize("amount", [0, -1, MOST_AMOUNT + 1])
def test_amounts_that_no_contract_takes_are_refused(amount: int) -> None:
    with pytest.raises(QuoteRefused):
        market(V3_POOL, pool_state(60, [(-60, 60, 10**18)], ONE)).quote(Order(True, amount))


def test_exact_output_at_a_fee_of_everything_is_refused() -> None:
    market = ConcentratedMarket(pool_state(60, [(-60, 60, 10**18)], ONE + 1), (10**6, 10**6), V4_RULES)

    eaten = market.quote(Order(True, 10**6))
    with pytest.raises(QuoteRefused):
        market.quote(Order(True, 10, exact_out=True))

    assert (eaten.amount_in, eaten.amount_out, eaten.fee_amount) == (10**6, 0, 10**6)
    assert eaten.after == eaten.before


def test_an_uninitialised_pool_is_refused() -> None:
    with pytest.raises(QuoteRefused) as refused:
        quote(V3_POOL, PoolState(Price(0, 0, 0), from_ticks(60, ())), Order(True, 1))

    assert refused.value.kind is RefusalKind.UNINITIALIZED


def test_amounts_beyond_what_v4_returns_are_refused() -> None:
    state = pool_state(1, [(-887272, 887272, 2**127)], MIN_SQRT_RATIO)
    order = Order(False, 10, exact_out=False, sqrt_price_limit_x96=MAX_SQRT_RATIO - 1)

    assert ConcentratedMarket(state, (0, 0), V4_RULES).quote(order).amount_in == 10
    with pytest.raises(QuoteRefused) as refused:
        ConcentratedMarket(state, (0, 0), V4_RULES).quote(Order(False, 2**127))

    assert refused.value.kind is RefusalKind.OVERFLOW


def test_the_price_of_a_pool_at_the_lowest_price_cannot_fall() -> None:
    market = ConcentratedMarket(pool_state(1, [(-887272, 887272, 10)], MIN_SQRT_RATIO + 1), (0, 0), V3_RULES)

    with pytest.raises(LiquidityEnds):
        market.quote(Order(True, 1))


def test_a_pool_without_ticks_has_no_depth_and_nothing_locked() -> None:
    empty = ConcentratedMarket(PoolState(Price(ONE, 0, 0), from_ticks(60, ())), (0, 0), V3_RULES)

    assert empty.depth(zero_for_one=True, points=10) == []
    assert folding.locked(PoolState(Price(ONE, 0, 0), from_ticks(60, ()))) == (0, 0)


def test_a_quote_of_a_pool_with_20000_ticks_sorts_only_the_words_that_it_reaches() -> None:
    lows = [Tick(-10 * number, 1, 1) for number in range(10_000, 0, -1)]
    ticks = from_ticks(10, [*lows, *(Tick(10 * number, 1, -1) for number in range(1, 10_001))])
    reached: list[int] = []

    class Parts(dict[int, Mapping[int, Liquidity]]):
        def __getitem__(self, word: int) -> Mapping[int, Liquidity]:
            reached.append(word)
            return super().__getitem__(word)

    state = PoolState(Price(ONE, 0, 10_000), Ticks(10, Parts(ticks.parts)))

    ConcentratedMarket(state, (0, 0), V3_RULES).quote(Order(True, 5))

    assert len(ticks) == 20_000
    assert set(reached) == {-1, 0}


@pytest.mark.parametrize(("fee", "is_right"), [(500, True), (3000, False)])
def test_a_fee_that_the_address_of_the_pool_refutes_is_refused(fee: int, is_right: bool) -> None:
    """USDC/WETH at 0.05 % on mainnet."""
    usdc, weth = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
    address = PoolId("0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640")
    factory = "0x1f98431c8ad98523631ae4a59f267346ea31f984"
    pool = PoolMetadata(address, "v3", Token(usdc), Token(weth), fee, 10, factory)
    state = pool_state(10, [(-60, 60, 10**18)], ONE)

    if is_right:
        assert quote(pool, state, Order(True, 10**6)).fee_amount == 500
    else:
        with pytest.raises(QuoteRefused, match="the pool's address says 500"):
            quote(pool, state, Order(True, 10**6))


def test_tokens_that_take_a_fee_on_transfers_are_refused() -> None:
    taxed = type(TOKEN0)(TOKEN0.address, 18, fee_on_transfer=True)
    pool = type(V3_POOL)(V3_POOL.id, "v3", taxed, V3_POOL.token1, 3000, 60)

    with pytest.raises(QuoteRefused) as refused:
        quote(pool, pool_state(60, [(-60, 60, 10**18)], ONE), Order(True, 10))

    assert refused.value.kind is RefusalKind.FEE_ON_TRANSFER
    assert TOKEN0.address in str(refused.value)
