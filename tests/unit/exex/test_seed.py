import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.concentrated import Swap
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from streams.exex.bincode import BadFrame
from streams.exex.seed import Decoder, PoolEvent, Reorg, SeedMessage
from tests.support.files import FRAMES as RECORDED

SPELLINGS = ("seed", "seed_hex_strings", "seed_untagged_reorg")
GOLDEN = [
    pytest.param(bytes.fromhex(golden["hex"]), golden["fields"], id=f"{spelling}-{golden['name']}")
    for spelling in SPELLINGS
    for golden in map(json.loads, (RECORDED / f"{spelling}.jsonl").read_text().splitlines())
]
FRAMES: list[bytes] = [param.values[0] for param in GOLDEN]  # type: ignore[misc]  # as built above


def message_of(fields: dict[str, Any]) -> SeedMessage:
    number = int(fields["block_number"])
    if fields["event"] == "Reorg":
        return Reorg(number, fields["block_hash"])
    pool, liquidity = PoolId(fields["pool_address"]), int(fields["liquidity"])
    if fields["event"] == "Swap":
        return PoolEvent(pool, number, Swap(int(fields["sqrt_price_x96"]), liquidity, int(fields["tick"])))
    delta = liquidity if fields["event"] == "Mint" else -liquidity
    return PoolEvent(pool, number, LiquidityChange(int(fields["tick_lower"]), int(fields["tick_upper"]), delta))


@pytest.mark.parametrize(("frame", "fields"), GOLDEN)
def test_every_golden_message_decodes_to_its_fields(frame: bytes, fields: dict[str, Any]) -> None:
    assert Decoder().feed(frame) == [message_of(fields)]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_message_cut_at_any_byte_gives_nothing_until_it_is_whole(frame: bytes) -> None:
    for cut in range(len(frame)):
        decoder = Decoder()

        assert decoder.feed(frame[:cut]) == []
        assert decoder.feed(frame[cut:]) == Decoder().feed(frame)


@given(st.lists(st.sampled_from(FRAMES), max_size=12), st.data())
def test_messages_of_all_spellings_follow_each_other_and_may_be_cut_anywhere(
    frames: list[bytes], data: st.DataObject
) -> None:
    stream, decoder = b"".join(frames), Decoder()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))

    messages = [message for a, b in pairwise([0, *cuts, len(stream)]) for message in decoder.feed(stream[a:b])]

    assert messages == [message for frame in frames for message in Decoder().feed(frame)]


def test_newline_bytes_split_nothing() -> None:
    newlines = next(frame for frame in FRAMES if frame.count(b"\n") > 30)

    assert len(Decoder().feed(newlines * 3)) == 3


REFUSED = [
    (b"\x04" + bytes(15), "at byte 0 of the stream: 4 is no tag"),
    (b"\x00\x00\x00\x00\x15" + bytes(11), "at byte 4 of the stream: an address of length 21 instead of 20 or 42"),
    (b"\x03" + bytes(11) + b"\x21" + bytes(7), "at byte 12 of the stream: a hash of length 33 instead of 32 or 66"),
]


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_a_wrong_tag_or_length_is_refused_with_its_place(data: bytes, reason: str) -> None:
    with pytest.raises(BadFrame, match=reason):
        Decoder().feed(data)


def golden(name: str) -> bytes:
    return next(param.values[0] for param in GOLDEN if param.id == name)  # type: ignore[return-value]  # as built above


@pytest.mark.parametrize(
    ("name", "at", "byte", "reason"),
    [
        ("seed-Swap", 40, 31, "at byte 40 of the stream: a number of length 31 instead of 32"),
        ("seed_hex_strings-Swap", 62, 2, "a number of 2 hex characters instead of 3 to 66"),
        ("seed_hex_strings-Swap", 62, 67, "a number of 67 hex characters instead of 3 to 66"),
        ("seed_hex_strings-Swap", 72, ord("0"), "is not a number in hex"),
        ("seed_hex_strings-Swap", 12, ord("1"), "is not an address in hex"),
        ("seed_hex_strings-Mint", 20, ord("G"), "is not an address in hex"),
        ("seed_hex_strings-Reorg", 30, ord("x"), "is not a hash in hex"),
    ],
)
def test_a_wrong_constant_is_refused_with_its_place(name: str, at: int, byte: int, reason: str) -> None:
    frame = bytearray(golden(name))
    frame[at] = byte

    with pytest.raises(BadFrame, match=reason):
        Decoder().feed(bytes(frame) + bytes(64))


def test_the_offset_of_a_fault_counts_from_the_first_byte_ever_fed() -> None:
    decoder, mint = Decoder(), golden("seed-Mint")
    for _ in range(5):
        decoder.feed(mint)

    with pytest.raises(BadFrame) as refused:
        decoder.feed(b"\x09" + bytes(15))

    assert refused.value.offset == 5 * len(mint)


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_waited_for(garbage: bytes) -> None:
    try:
        messages = Decoder().feed(garbage)
    except BadFrame:
        return

    assert len(messages) <= len(garbage) // 48


def test_a_price_of_thirty_hex_digits_is_not_taken_for_thirty_two_bytes() -> None:
    frame = golden("seed_hex_strings-Swap")
    digits = b"0x" + b"4" * 30
    frame = frame[:62] + (32).to_bytes(8, "little") + digits + frame[-20:]

    (message,) = Decoder().feed(frame)

    assert isinstance(message, PoolEvent)
    assert isinstance(message.event, Swap)
    assert message.event.sqrt_price_x96 == int(digits, 16)
