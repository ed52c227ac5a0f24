"""JSON of any kind is decoded, or refused with InvalidJson."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.json_input import LONGEST_REASON, InvalidJson, decode_json

ROOT = Path(__file__).parents[2]
PRODUCT = ("agents", "commands", "protocols", "replay", "streams", "tables", "web", "whitelist")


class Kind(msgspec.Struct, tag="kind"):
    number: int = 0
    text: str = ""


TYPED = msgspec.json.Decoder(Kind, strict=False)
UNTYPED = msgspec.json.Decoder()
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"type":"kind","text":"\xff"}',
        b'{"type":"kind","text":"\xed\xa0\x80"}',
        b'{"type":"kind","text":"\\ud800"}',
        b'{"type":"kind","text":"\\udc00\\ud800"}',
        b'{"type":"kind","number":' + b"9" * 5_000 + b"}",
        b'{"type":"kind","number":"' + b"9" * 5_000 + b'"}',
        b'{"type":"kind","number":1e400}',
        b'{"type":"kind","number":NaN}',
        b'{"type":"kind","unknown":' + DEEP + b"}",
        b'{"type":' + DEEP + b"}",
        DEEP,
    ],
)
def test_what_is_not_json_of_the_type_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        decode_json(TYPED, data)


@pytest.mark.parametrize("data", [DEEP, DEEP[:100_000], b'{"a":' * 100_000, b'{"a":"\\ud800"}', b"9" * 5_000])
def test_what_no_json_value_can_be_is_refused_where_any_type_is_expected(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        decode_json(UNTYPED, data)


def test_a_reason_quotes_only_the_start_of_a_long_value() -> None:
    with pytest.raises(InvalidJson, match="Invalid value 'xxx") as refused:
        decode_json(TYPED, b'{"type":"' + b"x" * 1_000_000 + b'"}')

    assert len(str(refused.value)) <= LONGEST_REASON + 1


def test_the_last_of_duplicate_keys_counts() -> None:
    found: Any = decode_json(TYPED, b'{"type":"kind","number":1,"number":"2"}')

    assert found == Kind(number=2)


ON_THEIR_OWN = {
    "streams/json_input.py",
    "streams/node/transport/json_rpc.py",  # has an error of its own
    "tables/rows.py",  # rows that this worker wrote
    "tables/durable/database.py",
    "web/owners/forwarding.py",  # answers of workers of the same version
    "web/pools/one_block.py",
    "web/pools/pages.py",
    "web/pools/subgraph.py",
    "web/quotes/batch.py",
    "web/status.py",
    "web/stream/chain/changes.py",  # records that workers of the same version wrote
    "web/stream/partitions.py",
}
DECODES = re.compile(r"json\.decode\b|json\.Decoder\(|json\.loads?\(|raw_decode\(")


def test_json_of_other_programs_is_decoded_in_one_place() -> None:
    sources = [path for name in PRODUCT for path in (ROOT / name).rglob("*.py")]

    decoding = {path for path in sources if DECODES.search(path.read_text())}
    elsewhere = {str(path.relative_to(ROOT)) for path in decoding if "decode_json(" not in path.read_text()}

    assert elsewhere - ON_THEIR_OWN == set()
