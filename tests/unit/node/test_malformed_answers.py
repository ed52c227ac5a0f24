"""Answers of a wrong type, shape or block are one kind of error, whatever is wrong with them."""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from streams.node.blocks import BlockLog, NodeHeader, UnreadableBlock, decode_block_logs, decode_header, decode_logs
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError, UnusableAnswer
from streams.node.transport.json_rpc import Calls, Response, UnreadableAnswer, in_order
from streams.secret_url import SecretUrl

HASH, PARENT = "0x" + "Ab" * 32, "0x" + "cd" * 32
BLOCK = {"number": "0x5", "hash": HASH, "parentHash": PARENT, "timestamp": "0x10", "baseFeePerGas": "0x7"}
LOG = {
    "address": "0x" + "Aa" * 20,
    "topics": ["0x" + "11" * 32, "0x" + "22" * 32],
    "data": "0x" + "00" * 32,
    "blockHash": HASH,
    "blockNumber": "0x5",
    "transactionIndex": "0x0",
    "logIndex": "0x3",
}
JUNK: list[Any] = [
    *(None, 7, -1, True, 1.5, "", "0x", "0xzz", "5", "-0x5", "0x-5", "0x1_0", " 0x5", "0x" + "ff" * 33, "latest"),
    *([], {}, [None], [[]], {"number": 1}, "ab" * 32, "0x" + "ab" * 31, "0x" + "ab" * 33, "\ud800"),
]


class Answering:
    """A transport whose every answer is the same."""

    def __init__(self, answer: Response) -> None:
        self._answer = answer

    async def exchange(self, calls: Calls) -> list[Response]:
        return [copy.deepcopy(self._answer) for _ in calls]

    async def close(self) -> None: ...


def node(result: Any) -> Node:
    return Node(SecretUrl("http://node"), Answering({"result": result}))


def test_hashes_and_addresses_are_lower_case_however_the_node_writes_them() -> None:
    (log,) = decode_logs([{**LOG, "logIndex": "0x03"}], HASH.lower())

    assert decode_header(BLOCK) == NodeHeader(5, HASH.lower(), PARENT, 16, 7)
    assert (log.address, log.log_index) == ("0x" + "aa" * 20, 3)


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("field", ["number", "hash", "parentHash", "timestamp"])
def test_a_block_with_a_wrong_field_cannot_be_read(field: str, junk: Any) -> None:
    lacking = {name: value for name, value in BLOCK.items() if name != field}

    for block in ({**BLOCK, field: junk}, lacking, junk):
        with pytest.raises(UnreadableBlock):
            decode_header(block)


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("field", ["address", "topics", "data", "blockHash", "transactionIndex", "logIndex"])
def test_logs_with_a_wrong_field_cannot_be_read(field: str, junk: Any) -> None:
    if (field, junk) in [("topics", []), ("data", "0x"), ("data", "0x" + "ff" * 33)]:
        return
    if field == "data" and isinstance(junk, str) and junk.startswith("0x") and len(junk) in (64, 68):
        return
    lacking = {name: value for name, value in LOG.items() if name != field}

    for logs in ([{**LOG, field: junk}], [lacking], [junk]):
        with pytest.raises(UnreadableBlock):
            decode_logs(logs, HASH)


@pytest.mark.parametrize("junk", [junk for junk in JUNK if junk != []], ids=repr)
def test_what_is_no_list_of_logs_cannot_be_read(junk: Any) -> None:
    for decode in (lambda items: decode_logs(items, HASH), decode_block_logs):
        with pytest.raises(UnreadableBlock):
            decode(junk)


def test_a_log_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UnreadableBlock, match="twice"):
        decode_logs([LOG, {**LOG, "data": "0x"}], HASH)


@pytest.mark.parametrize("junk", [junk for junk in JUNK if junk is not None], ids=repr)
@pytest.mark.parametrize(
    "ask",
    [
        lambda node: node.header("latest"),
        lambda node: node.chain_id(),
        lambda node: node.logs_in_range({}, 1, 2),
        lambda node: node.logs(HASH),
    ],
)
async def test_no_answer_of_a_wrong_type_escapes(ask: Callable[[Node], Any], junk: Any) -> None:
    if junk == [] and {"logs", "logs_in_range"} & set(ask.__code__.co_names):
        return
    with pytest.raises((NodeUnavailable, RpcError)):
        await ask(node(junk))


async def test_a_block_other_than_the_one_that_was_asked_for_is_refused() -> None:
    assert await node(BLOCK).header(HASH) == await node(BLOCK).header(5) == await node(BLOCK).header("latest")
    for at in (6, "0x" + "12" * 32):
        with pytest.raises(UnusableAnswer, match="for block"):
            await node(BLOCK).header(at)


async def test_logs_outside_of_the_range_are_refused() -> None:
    assert [each.block for each in await node([LOG]).logs_in_range({}, 5, 5)] == [5]
    with pytest.raises(UnusableAnswer, match="other blocks than 6 to 9"):
        await node([LOG]).logs_in_range({}, 6, 9)


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        ([{"id": 1, "result": 1}, {"id": 2, "result": 2}, {"id": 2, "result": 3}], "twice"),
        ([{"id": 1, "result": 1}], "unanswered"),
        ([{"id": "1", "result": 1}, {"id": 2, "result": 2}], "unanswered"),
        ([], "unanswered"),
    ],
)
def test_answers_that_are_missing_or_ambiguous_are_refused(answers: list[Response], match: str) -> None:
    with pytest.raises(UnreadableAnswer, match=match):
        in_order([1, 2], answers)


def test_answers_in_any_order_with_others_among_them_are_found() -> None:
    answers: list[Response] = [{"id": 9, "result": 9}, {"id": 2, "result": 2}, {"id": None}, {"id": 1, "result": 1}]

    assert in_order([1, 2], answers) == [answers[3], answers[1]]


def test_random_damage_to_logs_is_an_unreadable_block_or_the_logs_of_it() -> None:
    rng = random.Random(5)
    for _ in range(5_000):
        items: Any = [copy.deepcopy(LOG), {**copy.deepcopy(LOG), "logIndex": "0x4"}]
        for _ in range(rng.randint(1, 3)):
            item = rng.choice(items)
            if isinstance(item, dict) and item:
                item[rng.choice(list(item))] = rng.choice(JUNK)
        try:
            logs, ranged = decode_logs(items, HASH), decode_block_logs(items)
        except UnreadableBlock:
            continue
        assert all(isinstance(each, BlockLog) for each in ranged)
        assert [len(log.address) for log in logs] == [42, 42]
