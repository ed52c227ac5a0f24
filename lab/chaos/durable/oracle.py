"""Feeds counting workers, and checks what they counted."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.chaos.durable.workers import Worker
from tables.durable.changelog import stamped
from tables.durable.database import OWN, POSITION, Database, Stamped, read_position

PARTITIONS = 4
ENDS_TIMEOUT_S = 10.0
LARGEST = str(32 * 2**20)

Counted = tuple[int, str]
"""Of a key: how many records, and the last name."""
Difference = tuple[Counted | None, Counted | None]
"""What is expected, and what is found."""


async def create_topics(kafka: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    kept = {"max.message.bytes": LARGEST}
    compacted = {**kept, "cleanup.policy": "compact", "segment.ms": "2000", "min.cleanable.dirty.ratio": "0.01"}
    try:
        await admin.create_topics(
            [
                NewTopic(f"{prefix}.{name}", PARTITIONS, 1, topic_configs=compacted if name == "names" else kept)
                for name in ("adds", "more", "names", "said")
            ]
        )
    finally:
        await admin.close()


@asynccontextmanager
async def producing(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, enable_idempotence=True, linger_ms=5, max_request_size=int(LARGEST)
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


class Feed:
    """Random records, and what they should add up to."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str, seed: int = 0, keys: int = 100) -> None:
        self._producer = producer
        self._prefix = prefix
        self._random = random.Random(seed)
        self._keys = keys
        self.count: defaultdict[bytes, int] = defaultdict(int)
        self.name: defaultdict[bytes, str] = defaultdict(str)
        self.sent = 0
        self._pending: list[asyncio.Future[object]] = []

    async def some(self, records: int) -> None:
        for _ in range(records):
            number = self._random.randrange(self._keys)
            topic = self._random.choice(["adds", "adds", "adds", "more", "more", "names"])
            key, value = b"k%d" % number, b"+"
            if topic == "names":
                value = b"name %d" % self.sent
                self.name[key] = value.decode()
            elif topic == "adds" and self._random.random() < 0.2:
                key = b"d%d" % number
                value = b"x" if self._random.random() < 0.1 else b"+"
            if value == b"+":
                self.count[key] += 1
            elif value == b"x":
                self.count[key] = 0
            await self.put(topic, key, value)

    async def put(self, topic: str, key: bytes, value: bytes) -> None:
        self._pending.append(await self._producer.send(f"{self._prefix}.{topic}", value=value, key=key))
        self.sent += 1

    async def flushed(self) -> None:
        await asyncio.gather(*self._pending)
        self._pending.clear()

    async def at_rate(self, per_s: float, seconds: float) -> None:
        started = time.monotonic()
        sent = 0
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(elapsed * per_s) - sent
            await self.some(due)
            sent += due
            await asyncio.sleep(0.02)
        await self.flushed()

    def expected(self) -> dict[bytes, Counted]:
        keys = {key for key, n in self.count.items() if n} | {key for key, name in self.name.items() if name}
        return {key: (self.count[key], self.name[key]) for key in keys}


class Oracle:
    """Follows the changelog as a rebuilt table would read it: of each key the row with the highest stamp."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._changelog = [TopicPartition(f"{prefix}-count-counts-changelog", p) for p in range(PARTITIONS)]
        self._sources = [
            TopicPartition(f"{prefix}.{name}", p) for name in ("adds", "more", "names") for p in range(PARTITIONS)
        ]
        self._rows: dict[int, dict[bytes, Stamped]] = {p: {} for p in range(PARTITIONS)}
        self.records = 0
        self.outdated = 0

    async def __aenter__(self) -> "Oracle":
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka, enable_auto_commit=False, max_partition_fetch_bytes=int(LARGEST)
        )
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def caught_up(self, timeout_s: float = 120) -> None:
        """Every partition's position is the end of every source topic."""
        self._consumer.assign(self._changelog)
        await self._consumer.seek_to_beginning()
        for rows in self._rows.values():
            rows.clear()
        self.records = self.outdated = 0
        async with asyncio.timeout(timeout_s):
            while True:
                await self._read()
                ends = await self.ends([*self._sources, *self._changelog])
                behind = [tp for tp in self._sources if self._position(tp) != ends[tp]]
                unread = [tp for tp in self._changelog if await self._consumer.position(tp) < ends[tp]]
                if not behind and not unread:
                    return

    async def ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Asks again after a while: a request that met a topic as it was created may never be answered."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDS_TIMEOUT_S):
                    return dict(await self._consumer.end_offsets(places))

    def differences(self, expected: dict[bytes, Counted]) -> dict[bytes, Difference]:
        """By key."""
        return compared(expected, decoded({k: s.value for each in self._rows.values() for k, s in each.items()}))

    def database_differences(self, workers: list[Worker]) -> dict[int, str]:
        """Partitions of which no stopped worker's database is as the changelog."""
        differences = {}
        for partition, rows in self._rows.items():
            wanted = {key: row.value for key, row in rows.items() if row.value is not None}
            found = []
            for worker in workers:
                path = next(worker.data.glob(f"**/tables/counts-{partition}.db"), None)
                if path:
                    found.append(content(path))
            if wanted not in found:
                sizes = [len(each) for each in found]
                wrong = [sum(wanted.get(k) != each.get(k) for k in wanted.keys() | each.keys()) for each in found]
                differences[partition] = f"{len(wanted)} rows wanted, databases have {sizes}, {wrong} of them differ"
        return differences

    def _position(self, tp: TopicPartition) -> int:
        row = self._rows[tp.partition].get(POSITION)
        return read_position(row.value).offsets.get(tp.topic, 0) if row and row.value else 0

    async def _read(self) -> None:
        for tp, records in (await self._consumer.getmany(timeout_ms=200)).items():
            rows = self._rows[tp.partition]
            for record in records:
                row = stamped(record)
                self.records += 1
                if row.key not in rows or row.stamp >= rows[row.key].stamp:
                    rows[row.key] = row
                else:
                    self.outdated += 1


def decoded(rows: dict[bytes, bytes | None]) -> dict[bytes, Counted]:
    values = {key: json.loads(value) for key, value in rows.items() if value is not None and not key.startswith(OWN)}
    return {key: (value["n"], value["name"]) for key, value in values.items()}


def compared(expected: dict[bytes, Counted], found: dict[bytes, Counted]) -> dict[bytes, Difference]:
    return {
        key: (expected.get(key), found.get(key))
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    }


def content(path: Path) -> dict[bytes, bytes]:
    database = Database(path)
    try:
        rows = dict(database.scan(b""))
        if position := database.position():
            rows[POSITION] = position[1]
        return rows
    finally:
        database.close()
