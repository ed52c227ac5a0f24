"""The durable table in real workers on a real broker (its long form is lab/chaos/durable)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from lab.chaos.durable.fault_injector import Plan, run
from lab.chaos.durable.oracle import PARTITIONS, Feed, Oracle, create_topics, producing
from lab.chaos.durable.workers import Worker
from lab.devnet.servers.kafka import Kafka

pytestmark = pytest.mark.servers


class Scene:
    """One application: its topics, its workers, what was fed."""

    def __init__(self, kafka: str, prefix: str, directory: Path, feed: Feed, oracle: Oracle) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.feed = feed
        self.oracle = oracle
        self.workers: list[Worker] = []
        self._directory = directory

    def worker(self, name: str, **environment: str) -> Worker:
        self.workers.append(Worker(name, self.kafka, self.prefix, self._directory, **environment))
        return self.workers[-1]

    async def fed(self, records: int) -> None:
        await self.feed.some(records)
        await self.feed.flushed()

    async def exact(self) -> None:
        await self.oracle.caught_up()
        assert self.oracle.differences(self.feed.expected()) == {}


@asynccontextmanager
async def staged(kafka: str, prefix: str, directory: Path) -> AsyncIterator[Scene]:
    await create_topics(kafka, prefix)
    async with producing(kafka) as producer, Oracle(kafka, prefix) as oracle:
        scene = Scene(kafka, prefix, directory, Feed(producer, prefix), oracle)
        try:
            yield scene
        finally:
            for worker in scene.workers:
                worker.kill()


@pytest.fixture
async def scene(kafka: str, chain_name: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with staged(kafka, chain_name, tmp_path) as found:
        yield found


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    with Kafka() as server:
        yield server


async def test_counts_are_exact_through_every_fault(own_kafka: Kafka, tmp_path: Path) -> None:
    outcome = await run(own_kafka, tmp_path, Plan("each", seed=1, seconds=30, per_s=400))

    assert outcome.exact, str(outcome)
    assert len(outcome.events) >= 6


async def test_a_worker_continues_at_its_stored_position(scene: Scene) -> None:
    await scene.fed(2000)
    worker = scene.worker("w").start()
    await scene.exact()
    assert await worker.stop() == 0
    await scene.fed(2000)

    worker.start()

    await scene.exact()
    assert await worker.stop() == 0
    assert scene.oracle.database_differences([worker]) == {}


async def test_counts_are_exact_under_uvloop(scene: Scene) -> None:
    worker = scene.worker("w")
    worker.options = ["--loop", "uvloop"]
    worker.start()

    await scene.fed(5000)

    await scene.exact()
    assert await worker.stop() == 0


async def test_an_error_in_the_fold_stops_the_worker_and_skips_nothing(scene: Scene) -> None:
    worker = scene.worker("w", COUNT_POISON="refuse").start()
    await scene.fed(1000)
    await scene.exact()
    await scene.feed.put("adds", b"k1", b"poison")
    await scene.feed.flushed()

    assert await worker.ended() != 0
    assert "poison" in worker.tail(200)
    assert "LeaveGroup request succeeded" in worker.tail(200)

    await scene.fed(1000)
    scene.worker("mended", COUNT_POISON="ignore").start()
    await scene.exact()


async def test_without_kafka_a_worker_ends_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    worker = Worker("w", address, "none", tmp_path).start()

    assert await worker.ended() == 1
    assert f"Kafka at {address} does not answer" in worker.tail()
    assert "Traceback" not in worker.tail(200)


async def test_a_data_directory_serves_one_worker(scene: Scene) -> None:
    worker = scene.worker("w").start()
    await worker.says("Worker ready")

    second = scene.worker("w", COUNT_LOG="second").start()

    assert await second.ended(60) != 0
    assert "give each worker a data directory of its own" in second.tail(100)
    await scene.fed(500)
    await scene.exact()


async def test_a_worker_that_is_stopped_ends_though_kafka_does_not_answer(
    own_kafka: Kafka, chain_name: str, tmp_path: Path
) -> None:
    async with staged(own_kafka.address, chain_name, tmp_path) as scene:
        await scene.fed(500)
        worker = scene.worker("w").start()
        await scene.exact()

        own_kafka.freeze()
        try:
            assert await worker.stop() == 1
        finally:
            own_kafka.thaw()
        assert "ends without leaving its group" in worker.tail(100)

        await scene.fed(500)
        worker.start()
        await scene.exact()


async def test_a_worker_that_cannot_reach_its_group_any_more_ends(scene: Scene) -> None:
    worker = scene.worker("w", COUNT_BROKERS="fenced").start()

    assert await worker.ended() != 0
    assert "Did we not perform bootstrap?" in worker.tail(200)

    await scene.fed(500)
    scene.worker("again").start()
    await scene.exact()


async def test_a_corrupt_directory_is_read_from_the_changelog_again(scene: Scene) -> None:
    worker = scene.worker("w").start()
    await scene.fed(2000)
    await scene.exact()
    await worker.stop()
    for path in worker.data.glob("**/counts-*.db/CURRENT"):
        path.write_bytes(b"garbage")

    worker.start()
    await scene.fed(2000)

    await scene.exact()
    await worker.stop()
    assert scene.oracle.database_differences([worker]) == {}
    assert "set aside" in worker.log.read_text()


async def test_a_record_of_many_megabytes_comes_through(scene: Scene) -> None:
    scene.worker("w").start()

    for number in range(PARTITIONS * 2):
        await scene.feed.put("names", b"large%d" % number, b"x" * 20_000_000)
        scene.feed.name[b"large%d" % number] = "x" * 20
    await scene.fed(500)

    await scene.exact()


async def test_records_taken_by_retention_are_given_to_the_processor(scene: Scene) -> None:
    worker = scene.worker("w").start()
    await scene.fed(1000)
    await scene.exact()
    await worker.stop()
    before = dict(scene.feed.count)
    await scene.fed(1000)
    await delete_records(scene)

    worker.start()
    await worker.says("Worker ready", after=worker.logged())
    scene.feed.count.clear()
    scene.feed.count.update(before)
    await scene.fed(1000)
    await scene.oracle.caught_up()

    assert f"missing {scene.prefix}.adds" in worker.log.read_text()
    found = scene.oracle.differences(scene.feed.expected())
    counts = {key: [each and each[0] for each in pair] for key, pair in found.items() if key.startswith(b"k")}
    assert {key for key, (expected, counted) in counts.items() if expected != counted} == set()


async def test_a_topic_that_is_shorter_than_the_position_stops_the_worker(scene: Scene) -> None:
    worker = scene.worker("w").start()
    await scene.fed(1000)
    await scene.exact()
    await worker.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.kafka)
    await admin.start()
    await admin.delete_topics([f"{scene.prefix}.more"])
    await asyncio.sleep(1)
    await admin.close()
    await create_topics(scene.kafka, scene.prefix)

    worker.start()

    assert await worker.ended() != 0
    assert "the topic is not the one it was" in worker.log.read_text()


async def delete_records(scene: Scene) -> None:
    """Of the contiguous topics, all there are."""
    places = [TopicPartition(f"{scene.prefix}.{name}", p) for name in ("adds", "more") for p in range(PARTITIONS)]
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.kafka)
    await admin.start()
    try:
        ends = await scene.oracle.ends(places)
        await admin.delete_records({place: RecordsToDelete(before_offset=ends[place]) for place in places})
    finally:
        await admin.close()
