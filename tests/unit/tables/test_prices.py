"""Spot prices as decimal strings."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.concentrated import Price
from protocols.ticks import MAX_TICK, MIN_TICK, sqrt_ratio_at_tick
from protocols.types import PoolId, PoolMetadata, PriceState, Token
from protocols.v2 import V2State
from tables.views.prices import DIGITS, decimal_ratio, spot_price

ETHER, DOLLAR, NAMELESS = Token("0x" + "e0" * 20, 18), Token("0x" + "a0" * 20, 6), Token("0x" + "b0" * 20)


def pool(protocol: str, token0: Token, token1: Token) -> PoolMetadata:
    return PoolMetadata(PoolId("0x" + "11" * 20), protocol, token0, token1)


def test_the_decimals_of_both_tokens_are_applied() -> None:
    price = spot_price(pool("v2", ETHER, DOLLAR), V2State(2 * 10**18, 5_000 * 10**6))

    assert price == ("2500", "0.0004")


def test_a_price_with_ticks_is_the_square_of_its_root() -> None:
    price = spot_price(pool("v3", ETHER, ETHER), Price(3 << 95, 0, 0))

    assert price == ("2.25", "0.444444444444444444444444444444444444")


@pytest.mark.parametrize("state", [V2State(0, 5), V2State(5, 0), Price(0, 0, 0)])
def test_an_empty_pool_has_no_price(state: PriceState) -> None:
    protocol = "v2" if isinstance(state, V2State) else "v4"

    assert spot_price(pool(protocol, ETHER, DOLLAR), state) is None


def test_without_the_decimals_of_a_token_the_price_is_not_known() -> None:
    assert spot_price(pool("v2", ETHER, NAMELESS), V2State(1, 1)) is None


@given(st.integers(MIN_TICK, MAX_TICK - 1), st.integers(0, 255), st.integers(0, 255))
def test_prices_are_exact_to_their_digits_and_have_no_exponent(tick: int, decimals0: int, decimals1: int) -> None:
    root = sqrt_ratio_at_tick(tick)

    price = spot_price(pool("v3", Token("0x", decimals0), Token("0x", decimals1)), Price(root, tick, 0))

    assert price is not None
    exact = Fraction(root**2, 1 << 192) * Fraction(10) ** (decimals0 - decimals1)
    for text, truth in zip(price, (exact, 1 / exact), strict=True):
        assert set(text) <= set("0123456789.")
        assert abs(Fraction(Decimal(text)) - truth) <= truth / 10 ** (DIGITS - 1)


@given(st.integers(1, 10**60), st.integers(1, 10**60))
def test_a_ratio_keeps_its_significant_digits(numerator: int, denominator: int) -> None:
    ratio = Fraction(Decimal(decimal_ratio(numerator, denominator)))

    assert abs(ratio - Fraction(numerator, denominator)) <= Fraction(numerator, denominator) / 10 ** (DIGITS - 1)
