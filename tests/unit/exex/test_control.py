import json
import struct
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.concentrated import Initialize, Price, ProtocolFeeUpdate, Swap
from protocols.dex import UpdateType
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from protocols.v2 import Sync, V2State
from streams.exex.bincode import BadFrame
from streams.exex.control import LARGEST_FRAME, Decoder, decode
from streams.exex.control_encoder import NotOnWire, encode
from streams.exex.control_layouts import is_on_wire
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    Ping,
    Pong,
    PoolFinal,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
    Skipped,
    SkippedFinal,
)
from tests.support.files import FRAMES as RECORDED

GOLDEN = [json.loads(line) for line in (RECORDED / "control.jsonl").read_text().splitlines()]
FRAMES = {golden["name"]: bytes.fromhex(golden["hex"]) for golden in GOLDEN}
RETIRED = "V2Swap_retired"
POOL = "0x" + "ab" * 20
UNFOLLOWED = {
    golden["name"]
    for golden in GOLDEN
    if golden["name"] in (RETIRED, "ReorgEpilogue_FluidStateFinal")
    or golden["fields"].get("protocol", "V2") not in ("V2", "V3", "V4")
}
"""Read by their length, never written."""
PLAIN: dict[str, type[BeginBlock | EndBlock | ReorgComplete | Ping | Pong]] = {
    kind.__name__: kind for kind in (BeginBlock, EndBlock, ReorgComplete, Ping, Pong)
}
SOUND = [frame for name, frame in FRAMES.items() if name != RETIRED]


def message_of(fields: dict[str, Any]) -> Message | Ping | Pong:
    """What the golden fields say, in our words."""
    match fields["message"]:
        case "PoolUpdate":
            return update_of(fields)
        case "ReorgStart":
            old, new = (
                ReorgRange(*numbers(fields, f"{side}_first", f"{side}_last", f"{side}_count"))
                for side in ("old", "new")
            )
            return ReorgStart(int(fields["stream_seq"]), old, new)
        case "ReorgEpilogue":
            seq, block, timestamp = numbers(fields, "stream_seq", "final_tip_block", "final_tip_timestamp")
            return ReorgEpilogue(seq, block, timestamp, final_of(fields))
        case name:
            kind = PLAIN[name]
            return kind(**{field: plain(value) for field, value in fields.items() if field != "message"})


def plain(value: str | bool | None) -> Any:
    return int(value) if isinstance(value, str) else value


def numbers(fields: dict[str, Any], *names: str) -> list[Any]:
    return [plain(fields[name]) for name in names]


def update_of(fields: dict[str, Any]) -> PoolUpdate | Skipped:
    event: Sync | Swap | LiquidityChange
    match fields["update"]:
        case "V2Sync":
            event = Sync(*numbers(fields, "reserve0", "reserve1"))
        case "V3Swap" | "V4Swap":
            event = Swap(*numbers(fields, "sqrt_price_x96", "liquidity", "tick"))
        case "V3Liquidity" | "V4Liquidity":
            event = LiquidityChange(*numbers(fields, "tick_lower", "tick_upper", "liquidity_delta"))
        case _:
            return Skipped(*numbers(fields, "stream_seq", "update_tag", "block_number", "block_timestamp", "is_revert"))
    number, timestamp, tx, log = numbers(fields, "block_number", "block_timestamp", "tx_index", "log_index")
    protocol, update_type = fields["protocol"].lower(), fields["update_type"].lower()
    seq, revert = int(fields["stream_seq"]), bool(fields["is_revert"])
    return PoolUpdate(seq, fields["pool_id"], protocol, update_type, number, timestamp, tx, log, revert, event)


def final_of(fields: dict[str, Any]) -> PoolFinal | SkippedFinal:
    pool = PoolId(fields["pool_id"])
    match fields["update"]:
        case "Slot0Final":
            price = Price(*numbers(fields, "sqrt_price_x96", "tick", "liquidity"))
            return PoolFinal(pool, fields["protocol"].lower(), price)
        case "V2ReservesFinal":
            return PoolFinal(pool, "v2", V2State(*numbers(fields, "reserve0", "reserve1")))
        case _:
            return SkippedFinal(tag=1)


@pytest.mark.parametrize("golden", [g for g in GOLDEN if g["name"] != RETIRED], ids=lambda golden: golden["name"])
def test_every_golden_frame_decodes_to_its_fields(golden: dict[str, Any]) -> None:
    assert decode(bytes.fromhex(golden["hex"])[4:]) == message_of(golden["fields"])


@pytest.mark.parametrize(
    "golden", [g for g in GOLDEN if g["name"] not in UNFOLLOWED], ids=lambda golden: golden["name"]
)
def test_messages_encode_to_the_golden_bytes(golden: dict[str, Any]) -> None:
    message = message_of(golden["fields"])

    assert not isinstance(message, Skipped)
    assert encode(message).hex() == golden["hex"]


def test_a_retired_v2_delta_is_refused_since_reserves_cannot_follow_from_it() -> None:
    with pytest.raises(BadFrame, match="at byte 89 of the stream: update tag 0 is a retired V2 delta"):
        Decoder().feed(FRAMES[RETIRED])


@given(st.lists(st.integers(0, sum(map(len, SOUND)))))
def test_frames_may_be_cut_anywhere(cuts: list[int]) -> None:
    stream, decoder = b"".join(SOUND), Decoder()
    edges = [0, *sorted(cuts), len(stream)]

    messages = [message for start, end in pairwise(edges) for message in decoder.feed(stream[start:end])]

    assert messages == [
        message for message in map(decode, (frame[4:] for frame in SOUND)) if isinstance(message, Message)
    ]


@pytest.mark.parametrize("frame", SOUND)
def test_a_frame_cut_at_any_byte_gives_nothing_until_it_is_whole(frame: bytes) -> None:
    for cut in range(len(frame)):
        decoder = Decoder()

        assert decoder.feed(frame[:cut]) == []
        assert decoder.feed(frame[cut:]) == Decoder().feed(frame)


@pytest.mark.parametrize("frame", [frame for frame in SOUND if not isinstance(decode(frame[4:]), Skipped)])
def test_a_payload_a_byte_longer_or_shorter_is_refused(frame: bytes) -> None:
    for payload in (frame[4:] + b"\0", frame[4:-1]):
        with pytest.raises(BadFrame):
            decode(payload)


CONSTANTS = [
    ("BeginBlock", 4, 9, "at byte 4 of the stream: a feed sends no message of tag 9"),
    ("BeginBlock", 4, 0, "no message of tag 0"),
    ("BeginBlock", 40, 2, "at byte 40 of the stream: is_revert of BeginBlock: 2 is no bool"),
    ("V2Sync", 16, 2, "identifier of PoolUpdate|identifier of V2Sync"),
    ("V2Sync", 20, 32, "pool of V2Sync: length 32 instead of 20"),
    ("V2Sync", 48, 1, "at byte 48 of the stream: protocol of V2Sync is 1 instead of 0"),
    ("V2Sync", 52, 3, "type of V2Sync: 3 is none of"),
    ("V2Sync", 89, 23, "at byte 89 of the stream: there is no update of tag 23"),
    ("V3Swap", 52, 1, "type of V3Swap: 1 is none of"),
    ("V3Swap", 93, 31, "sqrt_price_x96 of V3Swap: length 31 instead of 32"),
    ("V3Swap", 152, 1, "tick of V3Swap: .* is no int24"),
    ("V3Liquidity_mint", 52, 0, "type of V3Liquidity: 0 is none of"),
    ("V4Swap", 52, 1, "protocol of V4Swap is 1 instead of 2"),
    ("EkuboSwap", 52, 1, "at byte 52 of the stream: update tag 6 does not go with protocol 1"),
    ("ReorgStart", 16, 2, "old_first of ReorgStart: 2 is none of"),
    ("ReorgStart_pure_revert", 42, 1, "new_first of ReorgStart .pure revert.: 1 is none of"),
    ("ReorgEpilogue_Slot0Final_v3", 32, 5, "there is no epilogue of tag 5"),
    ("ReorgEpilogue_Slot0Final_v3", 36, 1, "Slot0Final takes 132 bytes, this frame has 128"),
]


@pytest.mark.parametrize(("name", "at", "byte", "reason"), CONSTANTS)
def test_a_wrong_constant_is_refused_with_its_place(name: str, at: int, byte: int, reason: str) -> None:
    frame = bytearray(FRAMES[name])
    frame[at] = byte

    with pytest.raises(BadFrame, match=reason):
        Decoder().feed(bytes(frame))


@given(st.sampled_from(SOUND), st.data())
def test_a_frame_with_a_changed_byte_is_refused_or_encodes_to_itself(frame: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(4, len(frame) - 1))
    changed = frame[:at] + bytes([data.draw(st.integers(0, 255))]) + frame[at + 1 :]
    try:
        message = decode(changed[4:])
    except BadFrame:
        return

    if not isinstance(message, Skipped) and not isinstance(getattr(message, "update", None), SkippedFinal):
        assert encode(message) == changed


@given(st.binary(max_size=300))
@example(b"\x01\x00\x00\x00")
@example(b"\x04\x00\x00\x00\x02\x00\x00\x00")
def test_garbage_is_refused_or_waited_for(garbage: bytes) -> None:
    try:
        messages = Decoder().feed(garbage)
    except BadFrame:
        return

    assert b"".join(encode(message) for message in messages if not isinstance(message, Skipped)) in garbage


def test_a_frame_over_a_mebibyte_is_refused_before_it_is_read() -> None:
    begin = FRAMES["BeginBlock"]

    with pytest.raises(BadFrame, match=f"at byte {len(begin)} of the stream: a frame of {LARGEST_FRAME + 1} bytes"):
        Decoder().feed(begin + (LARGEST_FRAME + 1).to_bytes(4, "little"))


def test_the_offset_of_a_fault_counts_from_the_first_byte_ever_fed() -> None:
    decoder = Decoder()
    for _ in range(3):
        decoder.feed(FRAMES["V3Swap"] + FRAMES["Ping"])

    with pytest.raises(BadFrame) as refused:
        decoder.feed(b"\x04\x00\x00\x00\x09\x00\x00\x00")

    assert refused.value.offset == 3 * (len(FRAMES["V3Swap"]) + len(FRAMES["Ping"])) + 4


def test_an_update_of_another_dex_counts_with_its_sequence_number() -> None:
    assert Decoder().feed(FRAMES["BalancerLiquidity"]) == [Skipped(7, 19, 23741637, 1730000000, False)]


@pytest.mark.parametrize(
    ("name", "update_type", "reason"),
    [
        ("V3Liquidity_mint", 2, r"a burn of a v3 pool is LiquidityChange\(.*delta=123456789012345678901\)"),
        ("V3Liquidity_burn", 1, r"a mint of a v3 pool is LiquidityChange\(.*delta=-5\)"),
        ("V4Liquidity", 1, r"a mint of a v4 pool is LiquidityChange"),
    ],
)
def test_a_mint_that_takes_and_a_burn_that_adds_are_refused(name: str, update_type: int, reason: str) -> None:
    frame, at = bytearray(FRAMES[name]), 56 if name.startswith("V4") else 52
    frame[at] = update_type

    with pytest.raises(BadFrame, match=reason):
        Decoder().feed(bytes(frame))


@pytest.mark.parametrize("update_type", ["mint", "burn"])
def test_a_poke_may_be_a_mint_or_a_burn(update_type: UpdateType) -> None:
    poke = PoolUpdate(1, PoolId(POOL), "v3", update_type, 5, 1_000, 0, 0, False, LiquidityChange(-60, 60, 0))

    assert Decoder().feed(encode(poke)) == [poke]


@pytest.mark.parametrize(("update_type", "delta"), [("mint", -1), ("burn", 1), ("swap", 1), ("swap", 0)])
def test_what_a_reader_would_refuse_is_not_written(update_type: UpdateType, delta: int) -> None:
    update = PoolUpdate(1, PoolId(POOL), "v3", update_type, 5, 1_000, 0, 0, False, LiquidityChange(-60, 60, delta))

    with pytest.raises(ValueError, match=rf"no feed sends a {update_type}|0 is none of \(1, 2\)"):
        encode(update)


OTHER_PROTOCOLS = range(3, 9)
"""Ekubo, CurveStable, CurveTwoCrypto, CurveTricrypto, BalancerV2Weighted, Fluid."""


def slot0_final(protocol: int, pool: bytes, tick: int = 88_722_835, size: int = 0) -> bytes:
    """A whole frame; `size` bytes more, or fewer, than it should have. Ekubo's ticks go beyond an int24."""
    head = struct.pack("<IQQQI", 7, 11, 102, 1_730_000_024, 0)
    identifier = struct.pack("<IQ", 0, 20) + pool if len(pool) == 20 else struct.pack("<I", 1) + pool
    state = struct.pack("<IQ", protocol, 32) + bytes(31) + b"\x05" + struct.pack("<QQi", 6, 0, tick)
    payload = (head + identifier + state + bytes(max(size, 0)))[: size if size < 0 else None]
    return len(payload).to_bytes(4, "little") + payload


@pytest.mark.parametrize("pool", [b"\xab" * 20, b"\xab" * 32])
@pytest.mark.parametrize("protocol", OTHER_PROTOCOLS)
def test_the_epilogue_of_a_dex_that_is_not_followed_is_skipped(protocol: int, pool: bytes) -> None:
    assert Decoder().feed(slot0_final(protocol, pool)) == [ReorgEpilogue(11, 102, 1_730_000_024, SkippedFinal(tag=0))]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (slot0_final(9, b"\xab" * 20), "protocol of Slot0Final"),
        (slot0_final(0, b"\xab" * 20), "protocol of Slot0Final"),
        (slot0_final(1, b"\xab" * 32, tick=0), "protocol of Slot0Final"),
        (slot0_final(2, b"\xab" * 20, tick=0), "protocol of Slot0Final"),
        (slot0_final(3, b"\xab" * 20, size=1), "takes 128 bytes, this frame has 129"),
        (slot0_final(3, b"\xab" * 32, size=-1), "takes 132 bytes, this frame has 131"),
        (slot0_final(1, b"\xab" * 20), "no int24"),
    ],
)
def test_an_epilogue_that_fits_no_dex_breaks_the_connection(frame: bytes, reason: str) -> None:
    with pytest.raises(BadFrame, match=reason):
        Decoder().feed(frame)


@pytest.mark.parametrize("event", [Initialize(1 << 96, 0), ProtocolFeeUpdate(1)])
def test_a_first_price_and_a_change_of_fee_are_not_on_the_wire(event: Event) -> None:
    update = PoolUpdate(1, PoolId("0x" + "ab" * 32), "v4", "swap", 5, 1_000, 0, 0, False, event)

    assert not is_on_wire(event)
    with pytest.raises(NotOnWire, match=type(event).__name__):
        encode(update)


U64, U128, TICK = st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1), st.integers(-887272, 887272)
ADDRESS = st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex())
POOL_ID = st.binary(min_size=32, max_size=32).map(lambda pool: "0x" + pool.hex())
RESERVES = st.builds(V2State, U128, U128)
PRICE = st.builds(Price, st.integers(0, 2**160 - 1), TICK, U128)
SWAP = st.builds(Swap, st.integers(0, 2**160 - 1), U128, TICK)
ADDED = st.builds(LiquidityChange, TICK, TICK, st.integers(0, 2**127 - 1))
TAKEN = st.builds(LiquidityChange, TICK, TICK, st.integers(-(2**127), 0))
PLACE = (U64, U64, U64, U64, st.booleans())
RANGE = st.builds(ReorgRange, U64, U64, U64)
MESSAGES = st.one_of(
    st.builds(BeginBlock, U64, U64, U64, U64, st.booleans()),
    st.builds(EndBlock, U64, U64, U64),
    st.builds(ReorgComplete, U64, U64),
    st.builds(ReorgStart, U64, RANGE, RANGE | st.just(ReorgRange(None, None, 0))),
    st.builds(PoolUpdate, U64, ADDRESS, st.just("v2"), st.just("swap"), *PLACE, st.builds(Sync, U128, U128)),
    st.builds(PoolUpdate, U64, ADDRESS, st.just("v3"), st.just("swap"), *PLACE, SWAP),
    st.builds(PoolUpdate, U64, POOL_ID, st.just("v4"), st.just("swap"), *PLACE, SWAP),
    st.builds(PoolUpdate, U64, ADDRESS, st.just("v3"), st.just("mint"), *PLACE, ADDED),
    st.builds(PoolUpdate, U64, ADDRESS, st.just("v3"), st.just("burn"), *PLACE, TAKEN),
    st.builds(PoolUpdate, U64, POOL_ID, st.just("v4"), st.just("mint"), *PLACE, ADDED),
    st.builds(PoolUpdate, U64, POOL_ID, st.just("v4"), st.just("burn"), *PLACE, TAKEN),
    st.builds(
        ReorgEpilogue, U64, U64, U64, st.builds(PoolFinal, ADDRESS, st.just("v2"), st.builds(V2State, U128, U128))
    ),
    st.builds(ReorgEpilogue, U64, U64, U64, st.builds(PoolFinal, ADDRESS, st.just("v3"), PRICE)),
    st.builds(ReorgEpilogue, U64, U64, U64, st.builds(PoolFinal, POOL_ID, st.just("v4"), PRICE)),
)


@given(st.lists(MESSAGES, max_size=20))
def test_what_is_encoded_is_decoded(messages: list[msgspec.Struct]) -> None:
    assert Decoder().feed(b"".join(map(encode, messages))) == messages  # type: ignore[arg-type]  # builds gives Any
