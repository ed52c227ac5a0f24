"""Whole workers as processes on a real broker: killed, wiped, two of them, and started with Kafka down."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from lab.devnet.servers.processes import Process, free_port
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import Sync, V2State
from settings import Settings
from streams.kafka.clients import producer
from streams.kafka.records import Head, Header, Listed, Record, Reorg, Snapshot, Update, encode_record
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import partition_of, topics
from tests.support.web.raw_http import HANDLED, REFUSED, answers, assert_answered
from web.token import authorization

PARTITIONS = 4
POOLS = [PoolId(f"0x{number:040x}") for number in range(12)]
TOKEN = Token("0x" + "11" * 20)


class Chain:
    """A made-up chain on the topics: in every block each pool's reserves become the block's number and its fork's."""

    def __init__(self, settings: Settings, kafka: AIOKafkaProducer) -> None:
        self._topics = topics(settings.chain)
        self._kafka = kafka
        self.blocks: list[Block] = [Block(1, self._hash(1, 0))]
        self.fork = 0

    async def list_pools(self) -> None:
        for pool in POOLS:
            await self._send(self._topics.whitelist, pool, Listed(PoolMetadata(pool, "v2", TOKEN, TOKEN), 1))
        await self._everywhere(self._head(self.blocks[0], "0x00", 0))

    async def snapshots(self, at: Block | None = None) -> None:
        block = at or self.blocks[-1]
        for pool in POOLS:
            await self._send(self._topics.snapshots, pool, Snapshot(pool, block, V2State(block.number, self.fork)))

    async def mine(self, count: int, lost: PoolId | None = None) -> None:
        """`lost`: this pool's updates are not on the topic, though each Head counts them."""
        for _ in range(count):
            parent = self.blocks[-1]
            block = Block(parent.number + 1, self._hash(parent.number + 1, self.fork))
            self.blocks.append(block)
            state = self._state()
            for pool in (pool for pool in POOLS if pool != lost):
                await self._send(self._topics.chain, pool, Update(pool, block, (Sync(state.reserve0, state.reserve1),)))
            for partition in range(PARTITIONS):
                updates = sum(partition_of(pool.encode(), PARTITIONS) == partition for pool in POOLS)
                await self._send_to(partition, self._head(block, parent.hash, updates))

    async def reorg(self, depth: int) -> None:
        self.fork += 1
        del self.blocks[-depth:]
        await self._everywhere(Reorg(self.blocks[-1]))
        await self.mine(depth + 1)

    def expected(self) -> dict[str, Any]:
        state = self._state()
        return {"reserve0": str(state.reserve0), "reserve1": str(state.reserve1)}

    def _state(self) -> V2State:
        return V2State(self.blocks[-1].number, self.fork)

    def _hash(self, number: int, fork: int) -> str:
        return f"0x{fork:032x}{number:032x}"

    def _head(self, block: Block, parent: str, updates: int) -> Head:
        return Head(Header(block.number, block.hash, parent, timestamp=0), updates)

    async def _everywhere(self, record: Record) -> None:
        for partition in range(PARTITIONS):
            await self._send_to(partition, record)

    async def _send_to(self, partition: int, record: Record) -> None:
        await self._kafka.send(self._topics.chain, value=encode_record(record), partition=partition)
        await self._kafka.flush()

    async def _send(self, topic: str, pool: PoolId, record: Record) -> None:
        key = pool.encode()
        await self._kafka.send(topic, key=key, value=encode_record(record), partition=partition_of(key, PARTITIONS))


class Worker:
    def __init__(self, settings: Settings, directory: Path, host: str = "127.0.0.1", **environment: str) -> None:
        self.host = host
        self.port = free_port()
        self._token = environment.get("ARENA_WEB_TOKEN")
        self.data = directory / f"data-{self.port}"
        self._log = directory / f"worker-{self.port}.log"
        self._environment = {
            "ARENA_KAFKA": settings.kafka,
            "ARENA_CHAIN": settings.chain,
            "ARENA_PARTITIONS": str(settings.partitions),
            "ARENA_DATA": str(self.data),
            "ARENA_WEB_PORT": str(self.port),
            "ARENA_KAFKA_PATIENCE_S": "3",
            "ARENA_SESSION_TIMEOUT_S": "5",
            **environment,
        }
        self.start()

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("faust")), "-A", "worker", "worker", "-l", "info"]
        self.process = Process("worker", command, self._log, self._environment)

    def said(self) -> str:
        return self._log.read_text()

    def databases(self) -> list[Path]:
        return [path for path in self.data.rglob("CURRENT")]

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            async with (
                aiohttp.ClientSession(headers=authorization(self._token)) as session,
                session.get(f"http://{self.host}:{self.port}{path}") as response,
            ):
                return response.status, await response.json()
        except aiohttp.ClientError:
            return 0, {}

    async def states(self) -> list[Any]:
        """Of all pools; a pool that cannot be answered for now, or that waits, has None."""
        answers = [await self.get(f"/pools/{pool}/") for pool in POOLS]
        return [body.get("state") if status == 200 else None for status, body in answers]


@pytest.fixture
def settings(kafka: str, chain_name: str) -> Settings:
    return Settings(kafka=kafka, chain=chain_name, partitions=PARTITIONS)


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Any:
    started: list[Worker] = []

    def start(host: str = "127.0.0.1", **environment: str) -> Worker:
        started.append(Worker(settings, tmp_path, host, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.stop()


@pytest.fixture
async def kafka_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    await ensure_topics(settings)
    async with producer(settings) as started:
        yield started


@pytest.fixture
async def chain(settings: Settings, kafka_producer: AIOKafkaProducer) -> Chain:
    made = Chain(settings, kafka_producer)
    await made.list_pools()
    return made


async def until_right(worker: Worker, chain: Chain, timeout_s: float = 60) -> None:
    states: list[Any] = []
    try:
        async with asyncio.timeout(timeout_s):
            while states != [chain.expected()] * len(POOLS):
                await asyncio.sleep(0.2)
                states = await worker.states()
    except TimeoutError:
        pytest.fail(f"expected {chain.expected()}, got {states}; {worker.process.log_tail(40)}")


async def until_at(worker: Worker, chain: Chain) -> None:
    """Every partition's head is the chain's."""
    async with asyncio.timeout(60):
        heads: list[Any] = []
        while heads != [chain.blocks[-1].hash] * PARTITIONS:
            await asyncio.sleep(0.2)
            _, status = await worker.get("/status/")
            heads = [row["head"] and row["head"]["hash"] for row in status.get("partitions", [])]


async def until_shared(worker: Worker, owners: int, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        found: set[str] = set()
        while len(found) < owners:
            await asyncio.sleep(0.2)
            _, status = await worker.get("/status/")
            found = {row["worker"] for row in status.get("partitions", [])}


async def test_a_worker_killed_or_wiped_comes_back_with_the_same_state(
    worker: Callable[[], Worker], chain: Chain
) -> None:
    only = worker()
    await chain.mine(3)
    await chain.snapshots()
    await chain.mine(20)
    await until_right(only, chain)

    only.process.signal(signal.SIGKILL)
    only.process.wait(10)
    await chain.mine(5)
    await chain.reorg(8)
    only.start()
    await until_right(only, chain)

    only.process.signal(signal.SIGKILL)
    only.process.wait(10)
    shutil.rmtree(only.data)
    await chain.reorg(2)
    only.start()
    await until_right(only, chain)
    status, body = await only.get(f"/pools/{POOLS[0]}/explain/")
    assert (status, body["snapshots"]) == (200, 1)  # by its rows, not by a new snapshot


async def test_bytes_that_are_no_request_are_answered_by_a_worker_in_json_and_not_logged(
    worker: Callable[[], Worker], chain: Chain
) -> None:
    only = worker()
    await chain.mine(1)
    await until_at(only, chain)

    for data in [*REFUSED, *HANDLED]:
        for answer in await answers((only.host, only.port), data):
            assert_answered(answer)

    assert "Traceback" not in only.said()
    assert (await only.get("/status/"))[0] == 200


async def test_workers_on_two_addresses_answer_for_each_other_with_a_token(
    worker: Callable[..., Worker], chain: Chain
) -> None:
    first = worker("127.0.0.2", ARENA_WEB_BIND="127.0.0.2", ARENA_WEB_ADVERTISED="127.0.0.2", ARENA_WEB_TOKEN="secret")
    second = worker("127.0.0.3", ARENA_WEB_BIND="0.0.0.0", ARENA_WEB_ADVERTISED="127.0.0.3", ARENA_WEB_TOKEN="secret")
    await chain.mine(3)
    await chain.snapshots()
    await until_shared(first, 2)

    await until_right(first, chain)
    await until_right(second, chain)
    _, status = await first.get("/status/")
    first._token = None
    refused, _ = await first.get("/status/")

    assert {row["worker"] for row in status["partitions"]} == {
        f"http://{each.host}:{each.port}" for each in (first, second)
    }
    assert refused == 401


async def test_either_of_two_workers_answers_and_the_survivor_takes_over(
    worker: Callable[[], Worker], chain: Chain
) -> None:
    first, second = worker(), worker()
    await chain.mine(3)
    await chain.snapshots()
    await until_shared(first, 2)
    await until_right(first, chain)
    await until_right(second, chain)

    second.process.signal(signal.SIGKILL)
    await chain.mine(10)
    await until_right(first, chain)


async def test_a_standby_holds_the_rows_before_it_is_needed(worker: Callable[[], Worker], chain: Chain) -> None:
    first, second = worker(), worker()
    await chain.mine(3)
    await chain.snapshots()
    await until_shared(first, 2)
    await until_right(first, chain)
    async with asyncio.timeout(60):
        while len(first.databases()) < PARTITIONS:
            await asyncio.sleep(0.2)

    second.process.signal(signal.SIGKILL)
    await chain.mine(3)
    await until_right(first, chain)

    for pool in POOLS:
        _, story = await first.get(f"/pools/{pool}/explain/")
        assert story["snapshots"] == 1


async def test_pending_updates_of_waiting_pools_move_with_their_partitions(
    worker: Callable[[], Worker], chain: Chain
) -> None:
    first = worker()
    await until_shared(first, 1)
    await chain.mine(2)
    early = chain.blocks[-1]
    await chain.mine(5)
    await until_at(first, chain)

    second = worker()
    await until_shared(second, 2)
    await chain.mine(3)
    await until_at(second, chain)
    first.process.signal(signal.SIGKILL)
    await chain.mine(3)
    await until_at(second, chain)
    await chain.snapshots(early)

    await until_right(second, chain)


async def test_a_record_that_is_missing_on_the_topic_is_detected(worker: Callable[[], Worker], chain: Chain) -> None:
    only = worker()
    await chain.mine(3)
    await chain.snapshots()
    await until_right(only, chain)
    lost = POOLS[0]
    with_it = {
        pool for pool in POOLS if partition_of(pool.encode(), PARTITIONS) == partition_of(lost.encode(), PARTITIONS)
    }

    await chain.mine(1, lost)
    await chain.mine(2)
    await until_at(only, chain)
    states = dict(zip(POOLS, await only.states(), strict=True))
    _, body = await only.get(f"/pools/{lost}/")
    await chain.snapshots()

    assert {pool for pool, state in states.items() if state is None} == with_it
    assert all(states[pool] == chain.expected() for pool in POOLS if pool not in with_it)
    assert f"of {len(with_it)} updates of block {chain.blocks[-3].number} arrived" in body["reason"]["detail"]
    await until_right(only, chain)


async def test_a_stopped_worker_leaves_at_once_and_without_an_error(worker: Callable[[], Worker], chain: Chain) -> None:
    only = worker()
    await chain.mine(3)
    await chain.snapshots()
    await until_right(only, chain)

    code = only.process.stop(timeout_s=30)

    assert code == 0
    assert "Traceback" not in only.said()


async def test_a_worker_without_kafka_ends_with_a_sentence(settings: Settings, tmp_path: Path) -> None:
    lonely = Worker(settings.model_copy(update={"kafka": f"127.0.0.1:{free_port()}"}), tmp_path)

    code = lonely.process.wait(90)

    assert code == 1
    assert "did not answer for 3 s" in lonely.said()
    assert "Traceback" not in lonely.said()
