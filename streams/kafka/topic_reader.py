"""Reads a whole topic, or a range of offsets of one partition, outside any consumer group."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from settings import Settings
from streams.kafka.clients import client_options, fetch_limits
from streams.kafka.connection import start_client

STALL_S = 10.0
FETCH_WAIT_MS = 20
"""A broker holds a fetch for so long where there is nothing to read, and with it what is asked for behind it."""


class Stalled(Exception):
    def __init__(self, partition: TopicPartition, position: int, end: int) -> None:
        super().__init__(
            f"Kafka returned no record of {partition.topic}, partition {partition.partition}, for {STALL_S:.0f} s "
            f"at offset {position} of {end}"
        )


async def read_all(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """All records, partition by partition."""
    partitions = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
    async with reading_consumer(settings) as consumer:
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return [record for tp in partitions for record in await read_range(consumer, tp, begins[tp], ends[tp])]


@asynccontextmanager
async def reading_consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        **fetch_limits(),
        fetch_max_wait_ms=FETCH_WAIT_MS,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # retention may delete the start of the range meanwhile
    )
    try:
        await start_client(settings, consumer)
        yield consumer
    finally:
        await consumer.stop()


async def read_range(consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int) -> list[ConsumerRecord]:
    """Records with offsets from `start` up to `end`. Raises Stalled."""
    return [record async for batch in read_batches(consumer, tp, start, end) for record in batch]


async def read_batches(
    consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int
) -> AsyncGenerator[list[ConsumerRecord]]:
    """The same records as Kafka gives them, so that a long range need not fit in memory. Raises Stalled."""
    if start >= end:
        return
    loop = asyncio.get_running_loop()
    consumer.assign([tp])
    consumer.seek(tp, start)
    deadline_s, before = loop.time() + STALL_S, start
    while (position := await consumer.position(tp)) < end:
        if position > before:
            deadline_s, before = loop.time() + STALL_S, position
        if loop.time() > deadline_s:
            raise Stalled(tp, position, end)
        fetched = await consumer.getmany(tp, timeout_ms=200)
        if records := [record for record in fetched.get(tp, []) if record.offset < end]:
            yield records
