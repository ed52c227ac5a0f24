"""The scraper as a whole, on real Kafka, NATS and EVM: snapshot requests in, snapshots out."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import nats as nats_client
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from prometheus_client import REGISTRY

from lab.devnet.chain.blocks import TRADER, Chain, Transaction
from lab.devnet.chain.contracts import Contracts, Pool, first_pools
from lab.devnet.chain.evm import Rpc, calldata
from lab.devnet.servers import start as servers
from protocols.types import Block, PoolId
from protocols.v2 import V2State
from settings import Settings
from streams.kafka.clients import producer
from streams.kafka.records import (
    DeadLetter,
    Snapshot,
    SnapshotRecord,
    SnapshotRequest,
    Unreadable,
    decode_snapshot,
    encode_record,
)
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import topics
from streams.node.client import connect
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import PinnedState
from streams.scraper import process as scraper
from streams.scraper.batch_size import BatchConfig
from streams.snapshots.pool_reader import read_pools
from tests.support.rpc_proxy import Call, is_asking, proxied

pytestmark = pytest.mark.servers

TIMEOUT_S = 60.0


class World(msgspec.Struct):
    chain: Chain
    contracts: Contracts
    pools: list[Pool]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with servers.anvil() as url:
        chain = Chain(Rpc(url))
        contracts = Contracts.deployed(chain)
        world = World(chain, contracts, first_pools(chain, contracts))
        for pool in world.pools:
            if pool.protocol == "v2":
                feed(world, pool)
        yield world


def feed(world: World, pool: Pool) -> None:
    """A V2 pool gets reserves, and a block more."""
    sends = [
        Transaction(token, calldata("transfer(address,uint256)", pool.id, 10**20))
        for token in (pool.token0, pool.token1)
    ]
    world.chain.succeed([*sends, Transaction(pool.id, calldata("sync()"))])


def request(pool: Pool, not_before: int = 0) -> SnapshotRequest:
    return SnapshotRequest(pool.metadata, "listed", not_before)


class Bench:
    """A running scraper, and both ends of it."""

    def __init__(self, settings: Settings, sender: AIOKafkaProducer, records: AIOKafkaConsumer) -> None:
        self.settings = settings
        self._sender = sender
        self._records = records

    async def send(self, requests: Sequence[SnapshotRequest]) -> None:
        topic = topics(self.settings.chain).wanted
        await asyncio.gather(
            *(
                self._sender.send_and_wait(topic, key=each.pool.id.encode(), value=encode_record(each))
                for each in requests
            )
        )

    async def send_raw(self, key: bytes, value: bytes) -> None:
        await self._sender.send_and_wait(topics(self.settings.chain).wanted, key=key, value=value)

    async def answered(self, requests: Sequence[SnapshotRequest]) -> dict[PoolId, SnapshotRecord]:
        """Repeats the requests, as workers do, until each has an answer."""
        answers: dict[PoolId, SnapshotRecord] = {}
        async with asyncio.timeout(TIMEOUT_S):
            while missing := [each for each in requests if each.pool.id not in answers]:
                await self.send(missing)
                for record in await self.published(2.0, len(missing)):
                    if all(record.pool != each.pool.id or record.block.number >= each.not_before for each in requests):
                        answers[record.pool] = record
        return answers

    async def published(self, within_s: float, at_least: int = 10**9) -> list[SnapshotRecord]:
        found: list[SnapshotRecord] = []
        loop = asyncio.get_running_loop()
        end_s = loop.time() + within_s
        while len(found) < at_least and (left_s := end_s - loop.time()) > 0:
            for records in (await self._records.getmany(timeout_ms=int(left_s * 1000))).values():
                for record in records:
                    found.append(decode_snapshot(record.value))
                    assert record.key == found[-1].pool.encode()
        return found


Running = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench(kafka: str, nats: str, chain_name: str, world: World) -> Running:
    @asynccontextmanager
    async def running(config: BatchConfig | None = None, **changes: object) -> AsyncIterator[Bench]:
        given = {
            "chain": chain_name,
            "kafka": kafka,
            "nats": nats,
            "rpc": world.chain.rpc.url,
            "partitions": 2,
            **changes,
        }
        settings = Settings(**given)  # type: ignore[arg-type]
        task = asyncio.create_task(scraper.run(settings, config))
        await ensure_topics(settings)
        records = AIOKafkaConsumer(topics(chain_name).snapshots, bootstrap_servers=kafka, auto_offset_reset="earliest")
        await records.start()
        try:
            async with producer(settings) as sender:
                yield Bench(settings, sender, records)
                assert not task.done(), task.exception()
        finally:
            await records.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return running


async def chain_snapshots(world: World, answers: dict[PoolId, SnapshotRecord]) -> dict[PoolId, SnapshotRecord]:
    """The same pools read from storage slots, each at the block of its answer."""
    found: dict[PoolId, SnapshotRecord] = {}
    async with connect(world.chain.rpc.url) as node:
        for pool in (each for each in world.pools if each.id in answers):
            block = answers[pool.id].block
            pinned = PinnedState(node, block, NodeCapabilities(overrides=False, by_hash=True))
            state = (await read_pools(pinned, [request(pool).pool], {pool.id: pool.factory}))[pool.id]
            found[pool.id] = Snapshot(pool.id, block, state)  # type: ignore[arg-type]
    return found


async def test_every_request_is_answered_by_the_chains_own_state(bench: Running, world: World) -> None:
    requests = [request(pool, world.chain.tip.number) for pool in world.pools]

    counted_before = REGISTRY.get_sample_value("arena_scraper_convergence_seconds_count") or 0
    async with bench() as running:
        answers = await running.answered(requests)

    counted = REGISTRY.get_sample_value("arena_scraper_convergence_seconds_count")
    assert counted is not None and counted > counted_before
    assert len(answers) == 13
    assert answers == await chain_snapshots(world, answers)
    assert {record.block for record in answers.values()} == {Block(world.chain.tip.number, world.chain.tip.hash)}


async def test_the_reference_block_of_each_batch_is_published(
    bench: Running, world: World, nats: str, chain_name: str
) -> None:
    received: list[Any] = []
    client = await nats_client.connect(nats)
    subscription = await client.subscribe(f"whitelist.snapshots.{chain_name}.reference_block")
    v3 = [request(pool) for pool in world.pools if pool.protocol == "v3"]

    async with bench(BatchConfig(v3_full_ticks_batch_size=2, adaptive=False)) as running:
        await running.answered(v3)
        await client.flush()
        while sum(each["metadata"]["pools_in_batch"] for each in received) < len(v3):
            received.append(json.loads((await subscription.next_msg(timeout=60)).data))
    await client.close()

    assert [each["metadata"]["batch_number"] for each in received] == list(range(1, len(received) + 1))
    for each in received:
        assert set(each) == {"chain", "reference_block", "snapshot_timestamp", "metadata"}
        assert set(each["metadata"]) == {"batch_number", "total_batches", "protocol", "pools_in_batch"}
        assert each["chain"] == chain_name
        assert each["reference_block"] == world.chain.tip.number
        assert each["metadata"]["protocol"] == "v3"
        assert each["metadata"]["pools_in_batch"] <= 2
        assert each["metadata"]["total_batches"] >= each["metadata"]["batch_number"]


async def test_a_repeated_request_is_read_once(bench: Running, world: World) -> None:
    first, second = world.pools[:2]

    async with bench() as running:
        await running.answered([request(first)])
        await running.published(1.0)
        await running.send([request(second)] * 50)
        published = [*await running.published(TIMEOUT_S, at_least=1), *await running.published(1.0)]

    assert [record.pool for record in published] == [second.id]


async def test_a_request_for_a_future_block_waits_for_it_and_delays_no_other(bench: Running, world: World) -> None:
    first, second = (pool for pool in world.pools[:2])
    later = world.chain.tip.number + 2

    async with bench() as running:
        await running.answered([request(second)])
        await running.send([request(first, later)])
        too_early = await running.published(1.0)
        feed(world, first)
        feed(world, first)
        in_time = await running.published(TIMEOUT_S, at_least=1)

    assert too_early == []
    assert [(record.pool, record.block.number) for record in in_time] == [(first.id, later)]
    assert {first.id: in_time[0]} == await chain_snapshots(world, {first.id: in_time[0]})


async def test_a_pool_without_state_is_answered_with_the_reason(bench: Running, world: World) -> None:
    good = request(world.pools[0])
    bad = msgspec.structs.replace(good, pool=msgspec.structs.replace(good.pool, id=PoolId("0x" + "77" * 20)))

    async with bench() as running:
        answers = await running.answered([bad, good])

    block = Block(world.chain.tip.number, world.chain.tip.hash)
    assert answers[bad.pool.id] == Unreadable(bad.pool.id, block, f"there is no contract at {bad.pool.id}")
    assert isinstance(answers[good.pool.id], Snapshot)


async def test_an_undecodable_request_is_kept_as_a_dead_letter(
    bench: Running, world: World, kafka: str, chain_name: str
) -> None:
    letters = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    good = request(world.pools[0])

    async with bench() as running:
        await running.answered([good])
        await running.send_raw(b"\xff\x00", b'{"type": "wanted", ')
        await running.answered([request(world.pools[1])])
        letters.subscribe([topics(chain_name).dead_letters])
        await letters.start()
        record = await asyncio.wait_for(letters.getone(), TIMEOUT_S)
        await letters.stop()

    letter = msgspec.json.decode(record.value, type=DeadLetter)
    assert (letter.topic, letter.key, letter.value) == (topics(chain_name).wanted, "hex:ff00", '{"type": "wanted", ')
    assert letter.error


@pytest.mark.parametrize("protocol", ["v2", "v3", "v4"])
async def test_a_reorg_during_the_scrape_restarts_the_batch(bench: Running, world: World, protocol: str) -> None:
    pools = [pool for pool in world.pools if pool.protocol == protocol]
    pair = world.pools[0]
    feed(world, pair)
    replaced = Block(world.chain.tip.number, world.chain.tip.hash)
    reads = 0

    def rule(call: Call) -> None:
        nonlocal reads
        reads += is_asking(call)
        if reads == 1:
            reads += 1
            world.chain.rewind(1)
            world.chain.succeed(
                [
                    Transaction(pair.token0, calldata("transfer(address,uint256)", pair.id, 7)),
                    Transaction(pair.id, calldata("sync()")),
                ]
            )

    async with proxied(world.chain.rpc.url, rule) as proxy, bench(rpc=proxy.url) as running:
        answers = await running.answered([request(pool, replaced.number) for pool in pools])
        rest = await running.published(0.5)

    blocks = {record.block for record in [*answers.values(), *rest]}
    assert blocks == {Block(world.chain.tip.number, world.chain.tip.hash)}
    assert replaced not in blocks
    assert answers == await chain_snapshots(world, answers)


async def test_an_unavailable_node_is_retried_with_one_warning(
    bench: Running, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [request(pool) for pool in world.pools]

    async with proxied(world.chain.rpc.url) as proxy, bench(rpc=proxy.url) as running:
        await running.answered(requests[:1])
        proxy.status = 503
        with caplog.at_level(logging.WARNING):
            await running.send(requests[1:])
            silence = await running.published(2.5)
        proxy.status = 200
        answers = await running.answered(requests[1:])

    assert silence == []
    assert len(answers) == 12
    warnings = [record.getMessage() for record in caplog.records if "The node: " in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("The node: http://127.0.0.1:")


async def test_a_node_without_the_state_of_the_block_is_asked_less_and_less_often_with_one_warning(
    bench: Running, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Call] = []
    has_state = False

    def rule(call: Call) -> Call | None:
        if has_state or call["method"] not in ("eth_call", "eth_getStorageAt", "eth_getCode"):
            return None
        asked.append(call)
        if len(asked) % 20 == 0:
            world.chain.mine([Transaction(TRADER, "0x")])  # so each attempt is at another block
        return {"error": {"code": -32000, "message": f"missing trie node {len(asked):064x} (path )"}}

    async with proxied(world.chain.rpc.url, rule) as proxy, bench(rpc=proxy.url) as running:
        with caplog.at_level(logging.INFO):
            while not asked:
                await running.send([request(world.pools[0])])
                await asyncio.sleep(0.2)
            await asyncio.sleep(5)
            attempts = len(asked)
        has_state = True
        answers = await running.answered([request(world.pools[0])])

    assert isinstance(answers[world.pools[0].id], Snapshot)
    logged = [record.getMessage() for record in caplog.records if "missing trie node" in record.getMessage()]
    assert len(logged) == 1
    assert "full nodes keep that of their last blocks only" in logged[0]
    assert attempts < 60


async def test_without_nats_only_the_reference_blocks_are_missing(
    bench: Running, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with bench(nats="nats://127.0.0.1:9") as running:
            answers = await running.answered([request(world.pools[0])])

    assert isinstance(answers[world.pools[0].id], Snapshot)
    assert any("is not published: NATS is not connected" in record.getMessage() for record in caplog.records)


async def test_a_failed_pool_is_tried_again_and_stops_no_other(bench: Running, world: World) -> None:
    pairs = [pool for pool in world.pools if pool.protocol == "v2"]
    failures = 2

    def rule(call: Call) -> Call | None:
        nonlocal failures
        is_its_own = call["method"] == "eth_call" and call["params"][0]["to"] == pairs[1].id
        if failures and (is_asking(call) or is_its_own):
            failures -= is_its_own
            return {"error": {"code": -32603, "message": "internal error"}}
        return None

    async with proxied(world.chain.rpc.url, rule) as proxy, bench(rpc=proxy.url) as running:
        while not (first := await running.published(1.0)):
            await running.send([request(pair) for pair in pairs])
        later = await running.published(TIMEOUT_S, at_least=1)

    assert {record.pool for record in first} == {pairs[0].id, pairs[2].id}
    assert {record.pool for record in later} == {pairs[1].id}
    assert isinstance(later[0], Snapshot)
    assert isinstance(later[0].state, V2State)
    assert failures == 0


async def test_wait_for_next_block_reads_one_batch_per_block(bench: Running, world: World) -> None:
    pairs = [pool for pool in world.pools if pool.protocol == "v2"]
    config = BatchConfig(v2_batch_size=1, wait_for_next_block=True, adaptive=False)

    async with bench(config) as running:
        while not (first := await running.published(1.0)):
            await running.send([request(pair) for pair in pairs])
        world.chain.mine([Transaction(TRADER, "0x")])
        second = [*await running.published(TIMEOUT_S, at_least=1), *await running.published(1.0)]

    assert len(first) == 1
    assert len(second) == 1
    assert second[0].block.number == first[0].block.number + 1


async def test_one_protocol_at_a_time_answers_every_request_too(bench: Running, world: World) -> None:
    requests = [request(pool) for pool in world.pools]

    async with bench(BatchConfig(parallel=False)) as running:
        answers = await running.answered(requests)

    assert answers == await chain_snapshots(world, answers)


@pytest.mark.parametrize("pin", ["safe", "finalized"])
async def test_a_pinned_scraper_reads_at_that_block(bench: Running, world: World, pin: str) -> None:
    async with connect(world.chain.rpc.url) as node:
        head = await node.header(pin)

    async with bench(scraper_pin=pin) as running:
        answers = await running.answered([request(pool) for pool in world.pools])

    assert head is not None
    assert {(answer.block.number, answer.block.hash) for answer in answers.values()} == {(head.number, head.hash)}
