"""A worker that counts records per key: the durable layer with nothing around it. Run by the tests of tables/durable.

Settings come from the environment: COUNT_KAFKA, COUNT_ID (prefix of the topics), COUNT_DATA.
Record values: `+` counts, `x` deletes the row (keys `d…`, topic `adds` alone), anything else on `names` is kept.
"""

import logging
import os
from collections.abc import Collection
from pathlib import Path

import faust
import msgspec
from aiokafka.client import AIOKafkaClient
from mode import CrashingSupervisor

from tables.durable.app import DurableApp
from tables.durable.chunks import Chunk, Folded, Rows
from tables.durable.table import Sources

ID = os.environ["COUNT_ID"]
PARTITIONS = 4
ADDS, MORE, NAMES, SAID = (f"{ID}.{name}" for name in ("adds", "more", "names", "said"))
SAID_EVERY = 50
POISON = os.environ.get("COUNT_POISON", "refuse")

log = logging.getLogger(__name__)


async def no_coordinator(client: AIOKafkaClient, kind: int, name: str) -> int:
    """What aiokafka makes of metadata that name no broker, as they do for a moment after a broker was frozen."""
    raise AssertionError("Did we not perform bootstrap?")


if os.environ.get("COUNT_BROKERS") == "fenced":
    AIOKafkaClient.coordinator_lookup = no_coordinator


class Row(msgspec.Struct):
    n: int = 0
    """Records counted."""
    name: str = ""
    """The last one."""
    at: dict[str, int] = msgspec.field(default_factory=dict)
    """Topic to the offset of its last record."""


class Counts:
    """The processor."""

    def __init__(self) -> None:
        self.cache: dict[int, dict[bytes, Row]] = {}

    async def recovered(self, partition: int, rows: Rows, epoch: int) -> None:
        assert partition not in self.cache
        self.cache[partition] = {}
        log.warning("partition %d is recovered with %d rows", partition, sum(1 for _ in rows.scan(b"")))

    def outdated(self, partition: int, keys: Collection[bytes]) -> None:
        for key in keys:
            self.cache[partition].pop(key, None)
        log.warning("partition %d has %d outdated rows", partition, len(keys))

    def revoked(self, partition: int) -> None:
        self.cache.pop(partition, None)

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        log.warning("missing %s %d %d-%d", topic, partition, first, last)
        return Folded({}, [])

    async def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded:
        cache = self.cache[partition]
        written: dict[bytes, bytes | None] = {}
        sends: list[tuple[str, bytes, bytes]] = []
        for record in chunk.records:
            row = cache.get(record.key)
            if row is None:
                stored = written[record.key] if record.key in written else rows.get(record.key)
                row = cache[record.key] = msgspec.json.decode(stored, type=Row) if stored else Row()
            if record.offset <= row.at.get(chunk.topic, -1):
                continue
            row.at[chunk.topic] = record.offset
            if record.value == b"x":
                del cache[record.key]
                written.pop(record.key, None)
                written[record.key] = None
                continue
            if record.value == b"poison" and POISON == "ignore":
                continue
            if record.value == b"poison":
                raise ValueError(f"poison at {record.offset}")
            if chunk.topic == NAMES:
                row.name = record.value.decode()[:20]
            else:
                row.n += 1
                if row.n % SAID_EVERY == 0:
                    sends.append((SAID, record.key, b"%d" % row.n))
            written[record.key] = b""
        rows_written = {
            key: None if value is None else msgspec.json.encode(cache[key]) for key, value in written.items()
        }
        return Folded(rows_written, sends)


app = DurableApp(
    f"{ID}-count",
    broker=f"kafka://{os.environ['COUNT_KAFKA']}",
    datadir=Path(os.environ["COUNT_DATA"]),
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    broker_session_timeout=7.0,
    broker_heartbeat_interval=1.0,
    table_standby_replicas=int(os.environ.get("COUNT_STANDBYS", "1")),
    web_enabled=False,
)
counts = Counts()
table = app.durable_table("counts", counts, Sources(frozenset({ADDS, MORE}), frozenset({NAMES})))


def source(name: str) -> faust.TopicT:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


async def follow(chunks: faust.StreamT[bytes]) -> None:
    async for chunk in chunks.events():
        table.accept(chunk)


for topic in (ADDS, MORE, NAMES):
    app.agent(source(topic), name=topic.rpartition(".")[2], supervisor_strategy=CrashingSupervisor)(follow)
