"""The tokens with the most transfers, counted from a node's logs; a node that fails is a source that fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.node.client import connect
from tests.support.source_server import Answering, answering
from whitelist.configuration import Configuration, Factory, Sources, TopTransfers
from whitelist.sources import top_transfers
from whitelist.sources.cache import Answer, Kept
from whitelist.sources.query import SourceFailed
from whitelist.sources.results import Hearing

A, B, C, NFT = (f"0x{digit * 40}" for digit in "abcd")
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
NO_NODE = "http://127.0.0.1:1"


def logs(*tokens: str) -> dict[str, Any]:
    """What a node answers to its first request: one transfer of each; those of NFT have the number as a topic."""
    word = "0x" + "00" * 32
    entries = [
        {
            "address": token.upper().replace("0X", "0x"),
            "topics": [TRANSFER, word, word, *([word] if token == NFT else [])],
            "data": "0x" if token == NFT else word,
            "blockNumber": "0x5",
            "transactionIndex": "0x0",
            "logIndex": hex(index),
        }
        for index, token in enumerate(tokens)
    ]
    return {"jsonrpc": "2.0", "id": 1, "result": entries}


@pytest.fixture
def node() -> Iterator[Answering]:
    with answering({"/": logs(B, A, B, NFT, NFT, NFT, C)}) as node:
        yield node


async def heard(directory: Path, url: str | None, timeout_s: float = 2) -> Answer[Any]:
    sources = Sources(top_transfers=TopTransfers(url=url, timeout_s=timeout_s, blocks=10))
    configuration = Configuration(factories=(Factory("v2", A),), sources=sources)
    async with connect(NO_NODE) as nobody:
        _, answers = await Hearing(configuration, Kept(directory), nobody, last_block=100).hear()
    return answers["top_transfers"]


async def test_transfers_of_tokens_are_counted_and_not_those_of_collectibles(node: Answering, tmp_path: Path) -> None:
    found = await heard(tmp_path, f"{node.url}/")

    assert (found.status, list((found.value or {}).items())) == ("ok", [(B, 2), (A, 1), (C, 1)])
    ((_, _, asked),) = node.asked
    assert b'"fromBlock":"0x5b","toBlock":"0x64"' in asked
    assert TRANSFER.encode() in asked


@pytest.mark.parametrize("fault", ["down", "slow", "rubbish", "truncated", "error"])
async def test_a_node_that_fails_leaves_the_last_counts(node: Answering, tmp_path: Path, fault: str) -> None:
    good = await heard(tmp_path, f"{node.url}/")
    node.fault = fault

    bad = await heard(tmp_path, f"{node.url}/", timeout_s=0.3 if fault == "slow" else 2)

    assert (bad.status, bad.value) == ("stale", good.value)
    assert str(bad.error).startswith(("the node does not tell the transfers: ", "10 blocks of transfers were not"))


@pytest.mark.parametrize(
    "answer",
    [logs(), logs(NFT), {"jsonrpc": "2.0", "id": 1, "error": {"code": "none", "message": "none"}}, {"result": []}],
)
async def test_a_node_that_tells_nothing_leaves_the_last_counts(
    node: Answering, tmp_path: Path, answer: dict[str, Any]
) -> None:
    good = await heard(tmp_path, f"{node.url}/")
    node.answers["/"] = answer

    bad = await heard(tmp_path, f"{node.url}/")

    assert (bad.status, bad.value) == ("stale", good.value)


@pytest.mark.parametrize("url", [NO_NODE, "ws://127.0.0.1:1", "/no/such.ipc", "nonsense", None])
async def test_a_node_that_is_not_there_chooses_nothing(tmp_path: Path, url: str | None) -> None:
    found = await heard(tmp_path, url)

    assert (found.status, found.value, found.age_s) == ("failed", None, None)
    assert str(found.error).startswith("the node does not tell the transfers: ")


@pytest.mark.parametrize("kept", [b"", b"[]", b'{"0x":"many"}', b"\xff"])
def test_counts_that_cannot_be_read_are_no_answer(kept: bytes) -> None:
    with pytest.raises(SourceFailed, match="the counts cannot be read"):
        top_transfers.read(kept)
