"""The tokens with the most transfers, counted from a node's logs; a failing node is a failed source."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streams.node.client import connect
from tests.support.rpc_proxy import Call, proxied
from tests.support.whitelist.source_server import SourceServer, serving_sources
from whitelist.configuration import Configuration, Factory, Sources, TopTransfers
from whitelist.sources import top_transfers
from whitelist.sources.cache import Answer, SourceCache
from whitelist.sources.query import SourceFailed
from whitelist.sources.results import SourceCollector

A, B, C, NFT = (f"0x{digit * 40}" for digit in "abcd")
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
NO_NODE = "http://127.0.0.1:1"


def logs(*tokens: str, block: str = "0x64") -> dict[str, Any]:
    """What a node answers to its first request: one transfer of each; those of NFT have the number as a topic."""
    word = "0x" + "00" * 32
    entries = [
        {
            "address": token.upper().replace("0X", "0x"),
            "topics": [TRANSFER, word, word, *([word] if token == NFT else [])],
            "data": "0x" if token == NFT else word,
            "blockNumber": block,
            "transactionIndex": "0x0",
            "logIndex": hex(index),
        }
        for index, token in enumerate(tokens)
    ]
    return {"jsonrpc": "2.0", "id": 1, "result": entries}


@pytest.fixture
def node() -> Iterator[SourceServer]:
    with serving_sources({"/": logs(B, A, B, NFT, NFT, NFT, C)}) as node:
        yield node


async def collected(
    directory: Path, url: str | None, timeout_s: float = 2, *, blocks: int = 10, last_block: int = 100
) -> Answer[Any]:
    sources = Sources(top_transfers=TopTransfers(url=url, timeout_s=timeout_s, blocks=blocks))
    configuration = Configuration(factories=(Factory(protocol="v2", address=A),), sources=sources)
    async with connect(NO_NODE) as unreachable:
        _, answers = await SourceCollector(
            configuration, SourceCache(directory), unreachable, last_block=last_block
        ).collect()
    return answers["top_transfers"]


async def test_erc20_transfers_are_counted_and_erc721_transfers_are_not(node: SourceServer, tmp_path: Path) -> None:
    found = await collected(tmp_path, f"{node.url}/")

    assert (found.status, list((found.value or {}).items())) == ("ok", [(B, 2), (A, 1), (C, 1)])
    ((_, _, asked),) = node.asked
    assert b'"fromBlock":"0x5b","toBlock":"0x64"' in asked
    assert TRANSFER.encode() in asked


@pytest.mark.parametrize("fault", ["down", "slow", "rubbish", "truncated", "error"])
async def test_a_failing_node_keeps_the_last_counts(node: SourceServer, tmp_path: Path, fault: str) -> None:
    good = await collected(tmp_path, f"{node.url}/")
    node.fault = fault

    bad = await collected(tmp_path, f"{node.url}/", timeout_s=0.3 if fault == "slow" else 2)

    assert (bad.status, bad.value) == ("stale", good.value)
    assert str(bad.error).startswith(("the node does not give the transfers: ", "10 blocks of transfers were not"))


@pytest.mark.parametrize(
    "answer",
    [logs(), logs(NFT), {"jsonrpc": "2.0", "id": 1, "error": {"code": "none", "message": "none"}}, {"result": []}],
)
async def test_a_node_without_transfers_keeps_the_last_counts(
    node: SourceServer, tmp_path: Path, answer: dict[str, Any]
) -> None:
    good = await collected(tmp_path, f"{node.url}/")
    node.answers["/"] = answer

    bad = await collected(tmp_path, f"{node.url}/")

    assert (bad.status, bad.value) == ("stale", good.value)


@pytest.mark.parametrize("url", [NO_NODE, "ws://127.0.0.1:1", "/no/such.ipc", "nonsense", None])
async def test_an_unreachable_node_chooses_nothing(tmp_path: Path, url: str | None) -> None:
    found = await collected(tmp_path, url)

    assert (found.status, found.value, found.age_s) == ("failed", None, None)
    assert str(found.error).startswith("the node does not give the transfers: ")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"0x":"many"}', b"\xff"])
def test_undecodable_counts_are_an_error(body: bytes) -> None:
    with pytest.raises(SourceFailed, match="the counts cannot be read"):
        top_transfers.parse(body)


@pytest.mark.parametrize(("first", "last", "blocks"), [(0, 0, 1), (0, 99, 100), (0, 100, 100), (19_001, 20_000, 100)])
def test_of_many_blocks_some_are_sampled_evenly(first: int, last: int, blocks: int) -> None:
    numbers = [number for sampled in top_transfers.sampled_ranges(first, last) for number in sampled]

    assert len(numbers) == len(set(numbers)) == blocks
    assert numbers == sorted(numbers)
    assert first <= numbers[0] and numbers[-1] == last
    gaps = {later - earlier for earlier, later in pairwise(numbers)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


async def test_a_long_range_is_read_block_by_block(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def answer(call: Call) -> Call:
        asked.append((call["params"][0]["fromBlock"], call["params"][0]["toBlock"]))
        return {"result": logs(B, A, B, block=asked[-1][0])["result"]}

    async with proxied(NO_NODE, answer) as proxy:
        found = await collected(tmp_path, proxy.url, blocks=1000, last_block=5000)

    assert (found.status, found.value) == ("ok", {B: 200, A: 100})
    assert len(set(asked)) == 100
    assert all(first == last for first, last in asked)
