"""Storage layout and what its words say; the vectors are of mainnet contracts."""

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from protocols.registry import State, dex_of
from protocols.storage import (
    NotAPool,
    Words,
    bitmap_words,
    mapping_slot,
    tick_of,
    ticks_in,
)
from protocols.ticks import Tick
from protocols.types import PoolId
from protocols.v3 import PANCAKE_SLOTS, UNISWAP_SLOTS, V3State, slots_by_layout
from protocols.v4 import V4State, slots_of

V4_POOL = PoolId("0xdce6394339af00981949f5f3baf27e3610c76326a700af57e4b3e3ae4977f78d")
UNLOCKED = 1 << 240


def state_of(protocol: str, words: Words) -> State:
    state = dex_of(protocol).reads.state
    assert state is not None
    return state(words)


def test_mapping_slots_are_those_of_solidity() -> None:
    bitmap_slot = mapping_slot(-347, UNISWAP_SLOTS.bitmap)
    tick_slot = mapping_slot(193380, UNISWAP_SLOTS.ticks)

    assert bitmap_slot == 0x732EC05BC978D37A82AE1E9375717A24EC142A01625D66C457A12BE5FAC0AD3E
    assert tick_slot == 0xA17EB7567EB204E853D5DD4FCDC2F94D29FDEED2F5CAA49959F05BADFB282858


def test_a_v4_pool_has_its_slots_after_one_hash_of_its_id() -> None:
    slots = slots_of(V4_POOL)

    assert slots.price == 0x7CED19E67A5796B90F206E133D76F6C105CB78D4F9F3E2074D49C272A8094B4E
    assert slots.liquidity == slots.price + 3
    assert mapping_slot(0, slots.ticks) == 0xF330178C795B0DC2AC1CE861F7E5038351A3847BB3820216156F202DF45D4959
    assert mapping_slot(0, slots.bitmap) == 0xB360A221D9BFB797D7CE172D54479E451568582E994A7AA6B0C47BED0C78AB7E
    assert slots.price == int.from_bytes(keccak(bytes.fromhex(V4_POOL[2:]) + (6).to_bytes(32, "big")), "big")


@pytest.mark.parametrize(("tick_spacing", "words"), [(1, 6932), (10, 694), (60, 116), (200, 36)])
def test_the_bitmap_has_so_many_words(tick_spacing: int, words: int) -> None:
    assert len(bitmap_words(tick_spacing)) == words


@given(st.integers(1, 32767))
def test_the_bitmap_words_hold_the_outermost_ticks_and_no_word_more(tick_spacing: int) -> None:
    lowest, highest = -(887272 // tick_spacing), 887272 // tick_spacing

    words = bitmap_words(tick_spacing)

    assert (words[0], words[-1]) == (lowest >> 8, highest >> 8)


@pytest.mark.parametrize("tick_spacing", [0, -60, 32768])
def test_an_impossible_tick_spacing_is_refused(tick_spacing: int) -> None:
    with pytest.raises(NotAPool, match=str(tick_spacing)):
        bitmap_words(tick_spacing)


@given(st.integers(1, 200), st.sets(st.integers(-4436, 4436), max_size=40))
def test_ticks_are_found_where_the_bitmap_has_them(tick_spacing: int, places: set[int]) -> None:
    bitmap: dict[int, int] = {}
    for place in places:
        bitmap[place >> 8] = bitmap.get(place >> 8, 0) | 1 << (place & 255)

    found = [tick for word in sorted(bitmap) for tick in ticks_in(word, bitmap[word], tick_spacing)]

    assert found == [place * tick_spacing for place in sorted(places)]


@given(st.integers(-887272, 887272), st.integers(0, (1 << 128) - 1), st.integers(-(1 << 127), (1 << 127) - 1))
def test_a_tick_has_gross_in_its_low_bits_and_signed_net_in_its_high_bits(tick: int, gross: int, net: int) -> None:
    assert tick_of(tick, net % (1 << 128) << 128 | gross) == Tick(tick, gross, net)


def test_the_storage_words_identify_the_layout_of_a_v3_pool() -> None:
    price = 1 << 96 | 5 << 160

    assert slots_by_layout(UNISWAP_SLOTS, price | UNLOCKED, 0) == UNISWAP_SLOTS
    assert slots_by_layout(UNISWAP_SLOTS, price | 0x44 << 232 | UNLOCKED, 1 << 200) == UNISWAP_SLOTS
    assert slots_by_layout(UNISWAP_SLOTS, price, 1 << 32) == PANCAKE_SLOTS
    assert slots_by_layout(UNISWAP_SLOTS, price, 1 << 32 | 209718400) == PANCAKE_SLOTS


@pytest.mark.parametrize(
    ("price_word", "next_word"),
    [
        (1 << 96, 0),
        (1 << 96, 1 << 200),
        (1 << 96 | 1 << 232, 1 << 32),
        (1 << 96 | 1 << 248, 0),
        (0, 7),
        ((1 << 256) - 1, 0),
    ],
)
def test_storage_words_of_another_contract_are_refused(price_word: int, next_word: int) -> None:
    with pytest.raises(NotAPool):
        slots_by_layout(UNISWAP_SLOTS, price_word, next_word)


def test_a_v3_state_is_price_tick_and_liquidity() -> None:
    price = 79228162514264337593543950336
    word = UNLOCKED | 300 << 184 | (-5 % (1 << 24)) << 160 | price
    ticks = (Tick(-60, 9, 9), Tick(60, 9, -9))

    assert state_of("v3", Words(word, 0, 9, ticks)) == V3State(price, -5, 9, ticks)


def test_a_pool_before_initialize_has_price_0() -> None:
    assert state_of("v3", Words(0, 0, 0, ())) == V3State(0, 0, 0, ())
    assert state_of("v4", Words(0, 0, 0, ())) == V4State(0, 0, 0, (), 0, 0)


def test_a_v4_state_has_its_fees() -> None:
    price, protocol_fee, lp_fee = 1 << 96, 0x3E8064, 3000
    word = lp_fee << 208 | protocol_fee << 184 | (-1 % (1 << 24)) << 160 | price

    assert state_of("v4", Words(word, 1 << 255, 7, ())) == V4State(price, -1, 7, (), lp_fee, protocol_fee)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("v3", Words(UNLOCKED | 1, 0, 1 << 128, ())),
        ("v4", Words(1, 0, 1 << 128, ())),
        ("v4", Words(1 << 232, 0, 0, ())),
    ],
)
def test_bits_where_a_pool_has_none_are_refused(protocol: str, words: Words) -> None:
    with pytest.raises(NotAPool):
        state_of(protocol, words)
