"""A real worker on a real Kafka for benchmarks: topics filled from a made-up chain, and what the worker has done."""

import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple, Self

from lab.bench.made_chain import MadeChain, Shape
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.system import environment_of
from settings import Settings
from streams.kafka.clients import producing
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import Record, encode_record
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import partition_of, topics

POLL_S = 0.02
TIMEOUT_S = 300.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class NotDone(Exception):
    """A worker did not get there in time."""


class WrongState(Exception):
    def __init__(self, pool: str, served: object, expected: object) -> None:
        super().__init__(f"{pool} is answered as {served}, and it is {expected}")


class Bench:
    """Topics and, once started, one worker. An async context manager: it stops the worker."""

    def __init__(self, settings: Settings, chain: MadeChain, directory: Path) -> None:
        self.settings, self.chain = settings, chain
        self.client = WorkerClient(f"http://{settings.web_host}:{settings.web_port}")
        self.names = topics(settings.chain)
        self._directory = directory
        self._process: Process | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await ensure_topics(self.settings)
        self._producer = await self._stack.enter_async_context(producing(self.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await self._stack.aclose()

    # topics

    async def fill(self) -> None:
        """The list, a first block, and a snapshot of every pool."""
        await self._publish(self.names.whitelist, [(each.pool.id, each) for each in self.chain.listings()])
        await self.publish_chain(self.chain.heads())
        await self._publish(self.names.snapshots, [(each.pool, each) for each in self.chain.snapshots()])

    async def publish_chain(self, records: Iterable[tuple[int, Record]]) -> None:
        entries = [Entry(partition, _key(record), encode_record(record)) for partition, record in records]
        await Publisher(self._producer, self.settings.partitions).send(self.names.chain, entries)

    async def _publish(self, topic: str, records: Iterable[tuple[str, Record]]) -> None:
        count = self.settings.partitions
        entries = [Entry(partition_of(key.encode(), count), key.encode(), encode_record(each)) for key, each in records]
        async with producing(self.settings, compressed=True) as producer:
            await Publisher(producer, count).send(topic, entries)

    # the worker

    def start(self, *wrapper: str) -> Process:
        command = [*wrapper, sys.executable, "-m", "commands", "worker"]
        log = self._directory / f"worker-{time.time_ns()}.log"
        self._process = Process("worker", command, log, environment_of(self.settings) | {"ARENA_LOG_LEVEL": "info"})
        return self._process

    def stop(self) -> None:
        if self._process:
            self._process.stop(20)
            self._process = None

    def wait_until_live(self, pools: int) -> None:
        self._wait(lambda: bool(self.client.status()["pools"].get("live") == pools))

    def wait_for_head(self, block_hash: str) -> float:
        """When all partitions are there, by the clock of time.perf_counter."""
        self._wait(lambda: self.client.heads() == {block_hash})
        return time.perf_counter()

    def wait_for_block(self, number: int) -> float:
        """When HTTP answers a pool of each partition as of the block, by the clock of time.perf_counter."""
        left = {partition_of(each.metadata.id.encode(), self.settings.partitions): each for each in self.chain.pools}
        connection = HTTPConnection(self.settings.web_host, self.settings.web_port)
        for pool in left.values():
            answered = -1
            while answered < number:
                connection.request("GET", f"/pools/{pool.metadata.id}/")
                answered = json.load(connection.getresponse())["block"]["number"]
        connection.close()
        return time.perf_counter()

    def check_states(self) -> None:
        """Every pool is answered as the chain has it at its tip. Raises WrongState."""
        for pool in self.chain.pools:
            answer = self.client.get(f"/pools/{pool.metadata.id}/") or {}
            state, expected = answer.get("state") or {}, pool.served()
            if {name: state.get(name) for name in expected} != expected:
                raise WrongState(pool.metadata.id, answer, expected)

    def cpu_s(self) -> float:
        """Of the worker so far."""
        assert self._process
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def _wait(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not done():
            if self._process and self._process.exit_code is not None:
                raise NotDone(f"the worker ended: {self._process.log_tail()}")
            if time.monotonic() > deadline_s:
                raise NotDone(f"not done after {TIMEOUT_S:.0f} s: {self.client.status()}")
            time.sleep(POLL_S)


class Place(NamedTuple):
    bench: Bench
    directory: Path
    kafka_data: Path
    """The broker's, to measure topics on disk."""


@contextmanager
def bench_on_kafka(shape: Shape) -> Iterator[Place]:
    """On a broker and in a directory of its own, which are gone afterwards; nothing is audited."""
    with Kafka() as kafka, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        settings = Settings(
            kafka=kafka.address,
            chain=f"bench-{secrets.token_hex(3)}",
            data=directory / "data",
            web_port=free_port(),
            audits_per_minute=0,
        )
        yield Place(Bench(settings, MadeChain(shape), directory), directory, kafka.directory / "data")


def _key(record: Record) -> bytes | None:
    pool = getattr(record, "pool", None)
    return str(pool).encode() if pool else None


def changelog_bytes(kafka_data: Path, chain: str) -> int:
    """On the broker's disk, compressed as they were sent."""
    return topic_bytes(kafka_data, f"{chain}-arena-*changelog")


def topic_bytes(kafka_data: Path, topics: str) -> int:
    """`topics`: a name, or a pattern of names."""
    return sum(log.stat().st_size for log in kafka_data.glob(f"{topics}-[0-9]*/*.log"))
