"""Quotes of V2 pairs: what the pair's own check of its product lets pass, and which fee a pair takes."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.dex import PoolState
from protocols.quotes.constant_product import LARGEST_RESERVE, ConstantProductMarket
from protocols.quotes.order import LiquidityEnds, Order, Quote, QuoteRefused, RefusalKind
from protocols.quotes.pool_keys import pair_address
from protocols.quotes.quoting import market, quote
from protocols.ticks import Ticks
from protocols.types import PoolId, PoolMetadata, Token
from protocols.v2 import FORKS, V2State

USDC, WETH = (
    Token("0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", 6),
    Token("0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", 18),
)
CAKE, WBNB = Token("0x0e09fabb73bd3ade0a17ecc321fd13a19e81ce82"), Token("0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c")
PANCAKESWAP_BNB = "0xca143ce32fe78f1f7019d7d551a6402fc5350c73"
UNISWAP = "0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f"
RESERVES = st.integers(1, 110).flatmap(lambda bits: st.integers(1, 2 << bits))
FEES = st.sampled_from([0, 2500, 3000, 10_000])


def pair(reserve0: int, reserve1: int, fee: int = 3000) -> ConstantProductMarket:
    return ConstantProductMarket(V2State(reserve0, reserve1), (reserve0, reserve1), fee, V2State)


def listed(address: str, token0: Token, token1: Token, factory: str | None) -> PoolMetadata:
    return PoolMetadata(PoolId(address.lower()), "v2", token0, token1, factory=factory)


def quoted(market: ConstantProductMarket, order: Order) -> Quote:
    try:
        return market.quote(order)
    except QuoteRefused:
        assume(False)
        raise


def lets_pass(reserves: tuple[int, int], fee: int, amount_in: int, amount_out: int) -> bool:
    """UniswapV2Pair.swap's check, with the fee in pips."""
    adjusted_in = (reserves[0] + amount_in) * 10**6 - amount_in * fee
    return adjusted_in * (reserves[1] - amount_out) * 10**6 >= reserves[0] * reserves[1] * 10**12


@given(RESERVES, RESERVES, FEES, RESERVES)
def test_the_pair_lets_out_what_is_quoted_and_not_a_unit_more(
    reserve0: int, reserve1: int, fee: int, amount: int
) -> None:
    swap = quoted(pair(reserve0, reserve1, fee), Order(True, amount))

    assert lets_pass((reserve0, reserve1), fee, amount, swap.amount_out)
    assert not lets_pass((reserve0, reserve1), fee, amount, swap.amount_out + 1)
    assert swap.after == V2State(reserve0 + amount, reserve1 - swap.amount_out)


@given(RESERVES, RESERVES, FEES, RESERVES)
def test_the_input_that_is_quoted_is_enough_and_at_most_one_too_much(
    reserve0: int, reserve1: int, fee: int, amount: int
) -> None:
    swap = quoted(pair(reserve0, reserve1, fee), Order(False, amount, exact_out=True))

    assert lets_pass((reserve1, reserve0), fee, swap.amount_in, amount)
    assert not lets_pass((reserve1, reserve0), fee, swap.amount_in - 2, amount) or swap.amount_in == 1


@given(RESERVES, RESERVES, FEES, st.tuples(RESERVES, RESERVES), st.booleans())
def test_splitting_gains_nothing_and_no_swap_is_better_than_the_mid_price(
    reserve0: int, reserve1: int, fee: int, amounts: tuple[int, int], zero_for_one: bool
) -> None:
    first, second = amounts
    whole = quoted(pair(reserve0, reserve1, fee), Order(zero_for_one, first + second))
    one = quoted(pair(reserve0, reserve1, fee), Order(zero_for_one, first))
    assert isinstance(one.after, V2State)
    two = quoted(pair(one.after.reserve0, one.after.reserve1, fee), Order(zero_for_one, second))

    mid = Fraction(reserve1, reserve0) if zero_for_one else Fraction(reserve0, reserve1)
    assert one.amount_out + two.amount_out <= whole.amount_out <= mid * (first + second)
    assert one.amount_out <= whole.amount_out


@given(RESERVES, RESERVES, FEES, RESERVES, st.booleans())
def test_what_comes_out_can_be_bought_for_what_went_in_or_a_unit_more(
    reserve0: int, reserve1: int, fee: int, amount: int, zero_for_one: bool
) -> None:
    sold = quoted(pair(reserve0, reserve1, fee), Order(zero_for_one, amount))
    bought = quoted(pair(reserve0, reserve1, fee), Order(zero_for_one, sold.amount_out, exact_out=True))

    assert bought.amount_in <= amount + 1


@given(RESERVES, RESERVES, st.booleans(), st.integers(1, 50))
def test_depth_is_made_of_quotes_of_growing_size(reserve0: int, reserve1: int, zero_for_one: bool, points: int) -> None:
    found = pair(reserve0, reserve1).depth(zero_for_one=zero_for_one, points=points)

    assert len(found) <= points
    assert all(pair(reserve0, reserve1).quote(Order(zero_for_one, each.amount_in)) == each for each in found)
    amounts = [each.amount_in for each in found]
    assert amounts == sorted(set(amounts))


def test_depth_reaches_from_near_the_price_to_half_of_it() -> None:
    found = pair(10**20, 10**20).depth(zero_for_one=True, points=100)

    prices = [each.after.reserve1 / each.after.reserve0 for each in found if isinstance(each.after, V2State)]
    assert len(prices) == 100
    assert prices[0] == pytest.approx(1 / 1.01, rel=1e-3)
    assert prices[-1] == pytest.approx(1 / 2, rel=1e-2)


def test_amounts_are_those_of_the_routers_own_tests() -> None:
    """getAmountOut(2, 100, 100) is 1, getAmountIn(1, 100, 100) is 2: UniswapV2Router01.spec.ts."""
    assert pair(100, 100).quote(Order(True, 2)).amount_out == 1
    assert pair(100, 100).quote(Order(True, 1, exact_out=True)).amount_in == 2


@pytest.mark.parametrize(
    ("address", "tokens", "factory", "fee"),
    [
        ("0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc", (USDC, WETH), UNISWAP, 3000),
        ("0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc", (USDC, WETH), None, 3000),
        ("0x397FF1542f962076d0BFE58eA045FfA2d347ACa0", (USDC, WETH), None, 3000),
        ("0x2E8135bE71230c6B1B4045696d41C09Db0414226", (USDC, WETH), None, 2500),
        ("0x0eD7e52944161450477ee417DE9Cd3a859b14fD0", (CAKE, WBNB), None, 2500),
        (
            "0x0eD7e52944161450477ee417DE9Cd3a859b14fD0",
            (CAKE, WBNB),
            "0xca143ce32fe78f1f7019d7d551a6402fc5350c73",
            2500,
        ),
    ],
)
def test_the_fee_of_well_known_pairs_is_that_of_their_fork(
    address: str, tokens: tuple[Token, Token], factory: str | None, fee: int
) -> None:
    state = PoolState(V2State(10**24, 10**24), Ticks(1, {}))

    swap = quote(listed(address, *tokens, factory), state, Order(True, 10**20))

    assert swap.fee_amount == 10**20 * fee // 10**6


def test_the_fee_of_a_pair_with_known_code_is_known_on_any_chain() -> None:
    """Its address is the CREATE2 hash of the factory, the tokens, and the code."""
    factory, state = "0x" + "77" * 20, PoolState(V2State(10**24, 10**24), Ticks(1, {}))
    address = pair_address(factory, USDC.address, WETH.address, FORKS[0].init_code_hashes[0])

    assert quote(listed(address, USDC, WETH, factory), state, Order(True, 10**6)).fee_amount == 3000


def test_the_fee_of_a_fork_that_is_not_known_is_refused() -> None:
    pool = listed("0x" + "11" * 20, USDC, WETH, "0x" + "77" * 20)

    with pytest.raises(QuoteRefused) as refused:
        market(pool, PoolState(V2State(10, 10), Ticks(1, {})))

    assert refused.value.kind is RefusalKind.FEE_UNKNOWN
    assert "0x" + "77" * 20 in str(refused.value)


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (Order(True, 1), RefusalKind.AMOUNT),
        (Order(True, 0), RefusalKind.AMOUNT),
        (Order(True, 10, False, 2**96), RefusalKind.PRICE_LIMIT),
        (Order(True, 100, exact_out=True), RefusalKind.LIQUIDITY),
        (Order(True, LARGEST_RESERVE), RefusalKind.OVERFLOW),
    ],
)
def test_what_the_pair_reverts_is_refused(order: Order, kind: RefusalKind) -> None:
    with pytest.raises(QuoteRefused) as refused:
        pair(100, 100).quote(order)

    assert refused.value.kind is kind


def test_an_empty_pair_is_refused() -> None:
    with pytest.raises(LiquidityEnds):
        pair(0, 0).quote(Order(True, 10))
