"""Bytes that are not a record of their topic are refused."""

import json

import pytest

from protocols.concentrated import Initialize, Swap
from protocols.registry import Event, State
from protocols.ticks import LiquidityChange, Tick
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import Sync, V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.kafka import records
from streams.kafka.quotation import from_text, to_text
from streams.kafka.records import Head, Header, Listed, Snapshot, SnapshotRequest, Undecodable, Update, encode_record

TOKENS = Token("0x" + "01" * 20), Token("0x" + "02" * 20)
POOL = PoolMetadata(PoolId("0x" + "ab" * 20), "v3", *TOKENS, 500, 10, "0x" + "fa" * 20)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("id", "0x" + "AB" * 20, "is not the id of a v3 pool"),
        ("id", "0x" + "ab" * 32, "is not the id of a v3 pool"),
        ("protocol", "v4", "is not the id of a v4 pool"),
        ("token0", {"address": "0x01"}, "'0x01' is not the address of a token"),
        ("factory", "factory", "'factory' is not the address of a factory"),
        ("tick_spacing", 0, "is 0, and it is 1 to 32767"),
        ("tick_spacing", 2**15, "is 32768, and it is 1 to 32767"),
    ],
)
def test_an_impossible_pool_is_refused(field: str, value: object, reason: str) -> None:
    whole = json.loads(encode_record(SnapshotRequest(POOL, "listed", 7)))
    whole["pool"][field] = value

    with pytest.raises(Undecodable, match=reason):
        records.decode_snapshot_request(json.dumps(whole).encode())


def test_a_pool_in_the_form_of_a_whitelist_is_decoded() -> None:
    assert records.decode_listed(encode_record(Listed(POOL, 7))) == Listed(POOL, 7)


@pytest.mark.parametrize("number", [-1, 2**63, "-5", 1.5, None])
def test_an_impossible_block_number_is_refused(number: object) -> None:
    whole = json.loads(encode_record(Head(Header(7, "0x07", "0x06", 1), 0)))
    whole["block"]["number"] = number

    with pytest.raises(Undecodable):
        records.decode_chain(json.dumps(whole).encode())


@pytest.mark.parametrize("timestamp", [-1, 2**63, 2**2000])
def test_an_impossible_timestamp_is_undecodable(timestamp: int) -> None:
    with pytest.raises(Undecodable):
        records.decode_chain(encode_record(Head(Header(7, "0x07", "0x06", timestamp), 0)))


@pytest.mark.parametrize(
    "read", [records.decode_listed, records.decode_snapshot_request, records.decode_chain, records.decode_snapshot]
)
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b'{"type":"\xb0"}',
        b'{"type":"head","block":"\xc3\x28"}',
        b"[" * 10_000,
        b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_bytes_that_are_no_json_of_the_topic_are_refused(read: object, value: bytes) -> None:
    assert callable(read)
    with pytest.raises(Undecodable):
        read(value)


@pytest.mark.parametrize("raw", [b"{}", b"0xab", b"hex:00", b"\x00\xff", b"\xc3\xa4", "hex:ä".encode()])
def test_bytes_of_any_kind_are_written_as_text_and_read_back(raw: bytes) -> None:
    assert from_text(to_text(raw)) == raw


@pytest.mark.parametrize(
    "event",
    [
        Sync(-5, 1),
        Sync(1, 1 << 112),
        Initialize(1 << 160, 0),
        Initialize(1, 1 << 23),
        Swap(1, -1, 0),
        Swap(1, 1 << 128, 0),
        Swap(1, 1, -(1 << 23) - 1),
        LiquidityChange(-(1 << 23) - 1, 0, 1),
        LiquidityChange(0, 1 << 200, 1),
        LiquidityChange(0, 1, 1 << 127),
        LiquidityChange(0, 1, -(1 << 127) - 1),
    ],
)
def test_an_update_with_an_amount_that_no_contract_can_hold_is_undecodable(event: Event) -> None:
    value = encode_record(Update(POOL.id, Block(7, "0x07"), (event,)))

    with pytest.raises(Undecodable, match="and it is"):
        records.decode_chain(value)


@pytest.mark.parametrize(
    "state",
    [
        V2State(-1, 1),
        V2State(1, 1 << 112),
        V3State(1 << 160, 0, 1, ()),
        V3State(1, 1 << 23, 1, ()),
        V3State(1, 0, 1 << 128, ()),
        V3State(1, 0, 1, (Tick(0, 1 << 128, 0),)),
        V3State(1, 0, 1, (Tick(0, 1, -(1 << 127) - 1),)),
        V4State(1, 0, 1, (), 1 << 24, 0),
        V4State(1, 0, 1, (), 0, -1),
    ],
)
def test_a_snapshot_with_an_amount_that_no_contract_can_hold_is_undecodable(state: State) -> None:
    value = encode_record(Snapshot(POOL.id, Block(7, "0x07"), state))

    with pytest.raises(Undecodable, match="and it is"):
        records.decode_snapshot(value)


@pytest.mark.parametrize(
    "event",
    [
        Sync((1 << 112) - 1, 0),
        Swap((1 << 160) - 1, (1 << 128) - 1, -(1 << 23)),
        LiquidityChange(-887272, 887272, (1 << 127) - 1),
        LiquidityChange(-887272, 887272, -(1 << 127)),
    ],
)
def test_the_largest_amounts_of_a_contract_are_read(event: Event) -> None:
    update = Update(POOL.id, Block(7, "0x07"), (event,))

    assert records.decode_chain(encode_record(update)) == update
