"""The assembler, and the reading program's calldata and output; integration/snapshots/test_pool_reader.py runs it."""

import pytest

from protocols.storage import Words
from protocols.ticks import Tick
from protocols.v3 import UNISWAP_SLOTS
from streams.node.state.pinned_state import ECHO
from streams.snapshots.assembler import assemble
from streams.snapshots.programs import MULTICALL, READ, UnexpectedOutput, multicall_output, read_calldata, read_output

READ_BYTES = (
    "600035548060805260e81c1560e0351680602035015460c0528060403501606052606035016020526000356001015460a05260e06080355b"
    "8060a035146100ad578060005260406000205460c0358260081b025b81156100a3578160ff166100725760c03560031b019060081c906100"
    "53565b816001161561009557806040528060e81b84526040802054846003015292602301925b60c035019060011c90610053565b50506001"
    "01610037565b50608090036080f3"
)

MULTICALL_BYTES = (
    "608060005b36811461003c57604081604001600037606082602001826020013560008435600760101bfa3d800101825260800190"
    "60800190610004565b50608090036080f3"
)


def test_the_programs_assemble_to_these_bytes() -> None:
    """The source was read, run and compared with the contracts' own getters as these bytes."""
    assert READ.hex() == READ_BYTES
    assert MULTICALL.hex() == MULTICALL_BYTES
    assert ECHO.hex() == "3660008037366000f3"


def test_labels_are_jump_destinations() -> None:
    assert assemble("start: PUSH 0x01 PUSH @start JUMPI ; back").hex() == "5b600161000057"


@pytest.mark.parametrize(
    ("source", "message"),
    [("PUSH @nowhere JUMP", "no label nowhere"), ("a: a: POP", "twice"), ("FLY", "FLY is no operation")],
)
def test_a_wrong_source_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assemble(source)


def test_negative_bitmap_words_are_sign_extended() -> None:
    calldata = read_calldata(UNISWAP_SLOTS, range(-347, -346), 60, has_fork_layout=True)

    words = [int.from_bytes(calldata[at : at + 32], "big", signed=True) for at in range(0, len(calldata), 32)]
    assert words == [0, 4, 5, 6, -347, -346, 60, 1]


def test_output_is_head_and_ticks() -> None:
    head = b"".join(value.to_bytes(32, "big") for value in (11, 12, 13))
    ticks = bytes.fromhex("fffff6") + (-7).to_bytes(16, "big", signed=True) + (9).to_bytes(16, "big")

    assert read_output(head) == Words(11, 12, 13, ())
    assert read_output(head + ticks) == Words(11, 12, 13, (Tick(-10, 9, -7),))


@pytest.mark.parametrize("length", [0, 128, 255, 257, 384])
def test_replies_to_another_number_of_calls_are_refused(length: int) -> None:
    with pytest.raises(UnexpectedOutput):
        multicall_output(bytes(length), 2)


def test_a_reply_is_as_long_as_the_contract_said() -> None:
    said = (2 * 32 + 1).to_bytes(32, "big") + bytes(31) + b"\x07" + bytes(64)
    reverted, too_long = (2 * 4).to_bytes(32, "big") + bytes(96), (2 * 97 + 1).to_bytes(32, "big") + bytes(96)

    replies = multicall_output(said + reverted + too_long, 3)

    assert [(reply.success, reply.data) for reply in replies] == [
        (True, bytes(31) + b"\x07"),
        (False, bytes(4)),
        (True, None),
    ]


@pytest.mark.parametrize("length", [0, 32, 95, 97, 96 + 34])
def test_output_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(UnexpectedOutput):
        read_output(bytes(length))
