"""Quotes of V4 pools: fees in each direction, and hooks that make them impossible."""

import pytest

from protocols.dex import Fees
from protocols.quotes.hooks import FLAGS
from protocols.quotes.order import Order, QuoteRefused, RefusalKind
from protocols.quotes.pool_keys import key_hash
from protocols.quotes.quoting import quote
from protocols.types import NATIVE, PoolId, PoolMetadata
from protocols.v4 import swap_fees
from tests.support.quotes.markets import TOKEN0, TOKEN1, pool_state

STATE = pool_state(60, [(-887220, 887220, 10**24)], 1 << 96)
FEES = Fees(lp_fee=3000, protocol_fee=700 << 12 | 900, block=7)


def pool(hooks: str | None, fee: int = 3000) -> PoolMetadata:
    key = key_hash(TOKEN0.address, TOKEN1.address, fee, 60, hooks or NATIVE)
    return PoolMetadata(PoolId(key), "v4", TOKEN0, TOKEN1, fee, 60, None, hooks)


def hooks(flags: int) -> str:
    return f"0x{(0xABC << 14) | flags:040x}"


def test_the_id_of_a_pool_on_mainnet_is_the_hash_of_its_key() -> None:
    """ETH/USDC at 500 and spacing 10, without hooks."""
    usdc = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"

    assert key_hash(NATIVE, usdc, 500, 10, NATIVE) == (
        "0x21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27"
    )


def test_the_protocol_takes_its_part_first_and_another_in_each_direction() -> None:
    assert swap_fees(FEES) == (3898, 3698)
    assert swap_fees(Fees(0, 1000 << 12, 1)) == (0, 1000)
    assert swap_fees(Fees(10**6, 1000, 1)) == (10**6, 10**6)

    down, up = (quote(pool(None), STATE, Order(zero_for_one, 10**12), FEES) for zero_for_one in (True, False))

    assert (down.fee_amount, up.fee_amount) == (3898 * 10**6, 3698 * 10**6)


def test_a_dynamic_fee_is_that_of_the_last_read() -> None:
    dynamic = pool(hooks(0), fee=0x800000)

    assert quote(dynamic, STATE, Order(True, 10**12), Fees(4321, 0, 7)).fee_amount == 4321 * 10**6


def test_unknown_fees_are_refused() -> None:
    with pytest.raises(QuoteRefused) as refused:
        quote(pool(None), STATE, Order(True, 10**12))

    assert refused.value.kind is RefusalKind.FEE_UNKNOWN


@pytest.mark.parametrize("name", FLAGS)
def test_hooks_that_take_part_in_swaps_are_refused(name: str) -> None:
    with pytest.raises(QuoteRefused) as refused:
        quote(pool(hooks(FLAGS[name])), STATE, Order(True, 10**12), FEES)

    assert refused.value.kind is RefusalKind.HOOKS
    assert name in str(refused.value)


def test_hooks_that_leave_swaps_alone_are_no_reason_to_refuse() -> None:
    others = 0x3FFF & ~sum(FLAGS.values())

    assert quote(pool(hooks(others)), STATE, Order(True, 10**12), FEES).amount_out


def test_hooks_that_the_list_does_not_name_are_refused_unless_the_id_proves_that_there_are_none() -> None:
    named = pool(hooks(FLAGS["beforeSwap"]))
    unnamed = PoolMetadata(named.id, "v4", named.token0, named.token1, named.fee, named.tick_spacing)

    with pytest.raises(QuoteRefused) as refused:
        quote(unnamed, STATE, Order(True, 10**12), FEES)

    assert refused.value.kind is RefusalKind.HOOKS
    assert quote(pool(None), STATE, Order(True, 10**12), FEES).amount_out
