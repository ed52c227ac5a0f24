"""Only logs that can change a pool are read, and an empty answer counts only if the header's bloom filter agrees."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lab.devnet.chain.world import World
from protocols.decoding import TOPICS, decode_listed
from protocols.registry import Event
from protocols.types import Log, PoolId
from protocols.v2 import Sync
from streams.node.block_logs import BlockLogs
from streams.node.blocks import NodeHeader
from streams.node.blooms import bits_of, may_have
from streams.node.client import connect
from streams.node.errors import RpcError, UnusableAnswer
from tests.support.bridge.emitting_chain import POOLS, SENDER, EmittingChain, emitting_chain
from tests.support.rpc_proxy import Call, Rewrite, proxied

pytestmark = pytest.mark.servers

FOREIGN_TOPIC = 2**255 + 7
EVENT = (POOLS[0], Sync(5, 6))


@pytest.fixture
async def chain(anvil: Callable[..., str]) -> AsyncIterator[EmittingChain]:
    async with emitting_chain(anvil()) as mined:
        yield mined


async def mine_foreign(chain: EmittingChain) -> NodeHeader:
    """A block whose only log changes no pool."""
    data = "0x" + b"".join(value.to_bytes(32, "big") for value in (1, FOREIGN_TOPIC, 0, 0, 0, 9)).hex()
    await chain.node.call("eth_sendTransaction", [{"from": SENDER, "to": POOLS[0], "data": data, "gas": hex(200_000)}])
    await chain.node.call("evm_mine", [])
    return await chain.head()


async def mine_transfer(chain: EmittingChain) -> NodeHeader:
    """A block that uses gas and has no log."""
    await chain.node.call("eth_sendTransaction", [{"from": SENDER, "to": SENDER, "value": "0x1"}])
    await chain.node.call("evm_mine", [])
    return await chain.head()


def changes(logs: list[Log]) -> list[tuple[PoolId, Event]]:
    return [(decoded.pool, decoded.event) for _, decoded in decode_listed(logs, dict.fromkeys(POOLS), {})]


def asked_for_logs(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call["method"] == "eth_getLogs"]


class Recording:
    """A proxy's rule that passes every request and remembers it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> None:
        self.calls.append(call)


def with_bloom(bloom: str | None) -> Rewrite:
    """The node gives every block with this `logsBloom`."""

    def rewrite(_: Call, answer: Call) -> None:
        if isinstance(answer.get("result"), dict) and "logsBloom" in answer["result"]:
            answer["result"]["logsBloom"] = bloom

    return rewrite


def without_logs(call: Call, answer: Call) -> None:
    """The node has indexed no logs."""
    if call["method"] == "eth_getLogs":
        answer["result"] = []


def without_filtered_logs(call: Call, answer: Call) -> None:
    """The node's search by topics finds nothing."""
    if call["method"] == "eth_getLogs" and "topics" in call["params"][0]:
        answer["result"] = []


async def test_the_bits_of_real_blocks_are_exactly_those_of_their_addresses_and_topics(
    anvil: Callable[..., str],
) -> None:
    url = anvil()
    world = await asyncio.to_thread(World, url, 11)
    for _ in range(8):
        await asyncio.to_thread(world.mine)
    rng = random.Random(11)
    seen = 0
    async with connect(url) as node:
        for number in range(world.chain.tip.number + 1):
            header = await node.header(number)
            assert header is not None and header.bloom is not None
            bits = 0
            for log in await node.logs(header.hash):
                values = [bytes.fromhex(log.address[2:]), *log.topics]
                assert all(may_have(header.bloom, [value]) for value in values)
                seen += len(values)
                for value in values:
                    bits |= bits_of(value)
            assert bits == header.bloom
            absent = [rng.randbytes(32) for _ in range(20)]
            assert [may_have(bits, [each]) for each in absent] == [bits_of(each) & ~bits == 0 for each in absent]
            assert may_have(bits, absent) == any(bits_of(each) & ~bits == 0 for each in absent)
    assert seen > 500


async def test_only_logs_with_a_topic_of_interest_are_asked_for(chain: EmittingChain) -> None:
    await mine_foreign(chain)
    seen = Recording()
    async with proxied(str(chain.node.rpc), seen) as proxy, connect(proxy.url) as node:
        header = await chain.mine(EVENT)
        logs = await BlockLogs(node).read(header)

    assert changes(logs) == [EVENT]
    (asked,) = asked_for_logs(seen.calls)
    assert asked["params"] == [{"blockHash": header.hash, "topics": [["0x" + topic.hex() for topic in sorted(TOPICS)]]}]


async def test_a_block_is_not_asked_about_once_the_blooms_are_known_to_be_right(chain: EmittingChain) -> None:
    seen = Recording()
    async with proxied(str(chain.node.rpc), seen) as proxy, connect(proxy.url) as node:
        logs = BlockLogs(node)
        await logs.read(await mine_foreign(chain))
        unproven = len(asked_for_logs(seen.calls))
        await logs.read(await chain.mine(EVENT))
        seen.calls.clear()

        assert await logs.read(await mine_foreign(chain)) == []
        assert await logs.read(await chain.mine()) == []
        assert await logs.read_all(await mine_foreign(chain)) == []
        assert seen.calls == []
        assert changes(await logs.read(await chain.mine(EVENT))) == [EVENT]
        assert len(await logs.read(await mine_foreign(chain), is_expected=True)) == 0

    assert unproven == 1
    assert len(asked_for_logs(seen.calls)) == 2


@pytest.mark.parametrize("bloom", ["0x" + "00" * 256, "0x", "0x0", None, "0x" + "01" * 256])
async def test_logs_are_found_on_a_chain_whose_blooms_say_nothing(chain: EmittingChain, bloom: str | None) -> None:
    proxied_node = proxied(str(chain.node.rpc), rewrite=with_bloom(bloom))
    async with proxied_node as proxy, connect(proxy.url) as node:
        logs = BlockLogs(node)
        for _ in range(3):
            await chain.mine(EVENT)
            header = await node.header("latest")
            assert header is not None
            assert changes(await logs.read(header)) == [EVENT]
            await mine_transfer(chain)
            header = await node.header("latest")
            assert header is not None
            assert await logs.read(header) == []


async def test_an_empty_bloom_of_a_block_that_used_gas_is_checked_even_where_blooms_were_right(
    chain: EmittingChain,
) -> None:
    zeros = with_bloom("0x" + "00" * 256)
    async with proxied(str(chain.node.rpc), rewrite=zeros) as proxy, connect(proxy.url) as node:
        logs = BlockLogs(node)
        await logs.read(await chain.mine(EVENT))
        await chain.mine(EVENT)
        header = await node.header("latest")

        assert header is not None
        assert header.bloom == 0
        assert changes(await logs.read(header)) == [EVENT]


async def test_one_contradiction_ends_the_trust(chain: EmittingChain, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(str(chain.node.rpc)) as node:
        logs = BlockLogs(node)
        await logs.read(await chain.mine(EVENT))
        other = (await mine_foreign(chain)).bloom
        header = await chain.mine(EVENT)
        changed = NodeHeader(header.number, header.hash, header.parent, header.timestamp, None, other)
        assert changes(await logs.read(changed, is_expected=True)) == [EVENT]

        assert changes(await logs.read(changed)) == [EVENT]

    assert caplog.text.count("its bloom filter does not have") == 1


async def test_a_node_that_has_not_indexed_a_block_is_no_evidence(chain: EmittingChain) -> None:
    header = await chain.mine(EVENT)
    async with proxied(str(chain.node.rpc), rewrite=without_logs) as proxy, connect(proxy.url) as node:
        with pytest.raises(UnusableAnswer, match="not its logs yet"):
            await BlockLogs(node).read(header)


async def test_a_search_by_topics_that_finds_nothing_is_checked_against_all_logs(chain: EmittingChain) -> None:
    header = await chain.mine(EVENT)
    async with proxied(str(chain.node.rpc), rewrite=without_filtered_logs) as proxy, connect(proxy.url) as node:
        assert changes(await BlockLogs(node).read(header)) == [EVENT]


async def test_an_unknown_block_and_logs_of_another_block_are_errors(chain: EmittingChain) -> None:
    header = await chain.mine(EVENT)
    other = await chain.mine(EVENT)

    def mistake(call: Call) -> None:
        if call["method"] == "eth_getLogs":
            call["params"][0]["blockHash"] = other.hash

    unknown = NodeHeader(9, "0x" + "99" * 32, header.hash, 0, None)
    async with proxied(str(chain.node.rpc), mistake) as proxy, connect(proxy.url) as node:
        with pytest.raises(UnusableAnswer, match="logs of another block"):
            await BlockLogs(node).read(header)
    with pytest.raises(RpcError, match="unknown block"):
        await BlockLogs(chain.node).read(unknown)


@pytest.mark.parametrize("bloom", [5, {}, "0x" + "11" * 255, "0x" + "1" * 514])
async def test_what_has_not_256_bytes_is_no_bloom(chain: EmittingChain, bloom: Any) -> None:
    header = await chain.mine(EVENT)
    async with proxied(str(chain.node.rpc), rewrite=with_bloom(bloom)) as proxy, connect(proxy.url) as node:
        read = await node.header(header.number)

    assert read is not None
    assert read.bloom is None


@pytest.mark.parametrize("bloom", ["0x" + "zz" * 256, "0x" + "-1" * 256])
async def test_a_block_with_a_bloom_that_is_no_hex_cannot_be_read(chain: EmittingChain, bloom: str) -> None:
    header = await chain.mine(EVENT)
    async with proxied(str(chain.node.rpc), rewrite=with_bloom(bloom)) as proxy, connect(proxy.url) as node:
        with pytest.raises(UnusableAnswer, match="cannot be read"):
            await node.header(header.number)
