"""The changelog of a table: rows sent and acknowledged, or read back from where another worker wrote."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from prometheus_client import Counter

from tables.durable.chunks import Append
from tables.durable.database import Stamp, Stamped, stamp_bytes, stamp_of

HEADER = "stamp"
"""Of changelog records, so that deletions have a stamp too."""
READ_TIMEOUT_S = 60.0
SENT = Counter("arena_sent_records_total", "Records sent by this worker, rows of the changelog among them", ["topic"])
SENT_BYTES = Counter("arena_sent_bytes_total", "Bytes of their keys and values, before compression", ["topic"])

Headers = Sequence[tuple[str, bytes]]


class Unstamped(Exception):
    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(f"changelog {topic} partition {partition} record {offset} was not written by this application")


class Written(NamedTuple):
    """A run of records that lies in the changelog."""

    first: int
    last: int


async def send_rows(producer: AIOKafkaProducer, topic: str, partition: int, rows: Iterable[Stamped]) -> list[Written]:
    """In order, all acknowledged. What was written before a retry has no offset and is not in the answer.

    A row larger than a batch goes in a batch of its own. Raises KafkaError; some rows may be written then.
    """
    records = ((row.key, row.value, [(HEADER, stamp_bytes(row.stamp))]) for row in rows)
    runs = await _send_batches(producer, topic, partition, records)
    return sorted(run for run in runs if run.first >= 0)


async def send_appends(producer: AIOKafkaProducer, partition: int, appends: Iterable[Append]) -> None:
    """Those of each topic in order, all acknowledged. Raises KafkaError; some may be written then."""
    by_topic: dict[str, list[tuple[bytes | None, bytes | None, Headers]]] = {}
    for topic, key, value in appends:
        by_topic.setdefault(topic, []).append((key, value, []))
    await asyncio.gather(*(_send_batches(producer, topic, partition, each) for topic, each in by_topic.items()))


async def _send_batches(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: Iterable[tuple[bytes | None, bytes | None, Headers]],
) -> list[Written]:
    counts: list[int] = []
    sent: list[asyncio.Future[Any]] = []
    batch = producer.create_batch()
    size = 0

    async def ship() -> None:
        counts.append(batch.record_count())
        batch.close()
        sent.append(await producer.send_batch(batch, topic, partition=partition))

    for key, value, headers in records:
        size += len(key or b"") + len(value or b"")
        record = {"timestamp": None, "key": key, "value": value, "headers": headers}
        if batch.append(**record) is None:
            await ship()
            batch = producer.create_batch()
            batch.append(**record)
    if batch.record_count():
        await ship()
    acknowledged = await asyncio.gather(*sent)
    SENT.labels(topic).inc(sum(counts))
    SENT_BYTES.labels(topic).inc(size)
    return [Written(each.offset, each.offset + count - 1) for each, count in zip(acknowledged, counts, strict=True)]


async def send_records(producer: AIOKafkaProducer, records: Sequence[tuple[str, bytes, bytes]]) -> None:
    """To the partitions of their keys, all acknowledged. Raises KafkaError."""
    sent = [await producer.send(topic, value=value, key=key) for topic, key, value in records]
    await asyncio.gather(*sent)


async def read_rows(options: dict[str, Any], topic: str, partition: int, first: int, end: int) -> list[Stamped]:
    """The records that the changelog has from `first` up to, but without, `end`. Raises KafkaError, TimeoutError."""
    place = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    rows: list[Stamped] = []
    async with asyncio.timeout(READ_TIMEOUT_S):
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, first)
            while await consumer.position(place) < end:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    rows += [stamped(record) for record in records if record.offset < end]
        finally:
            await consumer.stop()
    return rows


def stamped(record: ConsumerRecord) -> Stamped:
    """Raises Unstamped."""
    stamp = header_stamp(record.headers)
    if stamp is None or record.key is None:
        raise Unstamped(record.topic, record.partition, record.offset)
    return Stamped(record.key, record.value, stamp)


def header_stamp(headers: Sequence[tuple[str, bytes]]) -> Stamp | None:
    for name, value in headers:
        if name == HEADER:
            return stamp_of(value)
    return None
