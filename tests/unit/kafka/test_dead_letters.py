"""A dead letter quotes a record of any size in a record that every broker accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.quotation import QUOTED_KEY_BYTES, QUOTED_VALUE_BYTES, from_text
from streams.kafka.records import dead_letter, encode_record

ORIGIN = ("ethereum.chain", 3, 17)
MANAGED_KAFKA_BYTES = 1_000_000
"""The largest record of a broker with default settings."""


@given(st.binary(max_size=3_000), st.binary(max_size=3_000))
def test_a_short_record_is_quoted_whole(key: bytes, value: bytes) -> None:
    letter = dead_letter(ORIGIN, "wrong", key[:QUOTED_KEY_BYTES], value)

    assert letter.is_whole
    assert (from_text(letter.key), from_text(letter.value)) == (key[:QUOTED_KEY_BYTES] or None, value or None)


@pytest.mark.parametrize("byte", [b"x", b"\x00", b"\xff", b'"'])
def test_of_a_long_record_the_letter_has_the_start_and_the_length(byte: bytes) -> None:
    letter = dead_letter(ORIGIN, "y" * 20_000_000, byte * 20_000_000, byte * 20_000_000)

    assert not letter.is_whole
    assert (letter.topic, letter.partition, letter.offset) == ORIGIN
    assert (letter.key_bytes, letter.value_bytes) == (20_000_000, 20_000_000)
    assert from_text(letter.value) == byte * QUOTED_VALUE_BYTES
    assert len(encode_record(letter)) < MANAGED_KAFKA_BYTES


def test_text_is_cut_between_characters() -> None:
    text = "a" + "€" * QUOTED_VALUE_BYTES

    letter = dead_letter(ORIGIN, "wrong", b"", text.encode())

    assert letter.value == text[: len(letter.value)]
    assert QUOTED_VALUE_BYTES - 3 <= len(letter.value.encode()) <= QUOTED_VALUE_BYTES
