"""Publishes batches of records on the partitions of a topic, in order, and waits until they are acknowledged."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

PRODUCE_TIMEOUT_S = 60.0


class Entry(NamedTuple):
    partition: int
    key: bytes | None
    value: bytes | None


class ProduceFailed(Exception):
    def __init__(self, topic: str, partition: int, cause: BaseException) -> None:
        reason = str(cause) or type(cause).__name__
        super().__init__(f"Kafka did not acknowledge records for {topic}, partition {partition}: {reason}")


class Publisher:
    def __init__(self, producer: AIOKafkaProducer, partitions: int) -> None:
        self._producer = producer
        self.partitions = partitions

    async def send(self, topic: str, entries: Iterable[Entry]) -> dict[int, list[tuple[int, int]]]:
        """Returns, per partition, base offset and count of each batch. Raises ProduceFailed."""
        by_partition: dict[int, list[Entry]] = {}
        for entry in entries:
            by_partition.setdefault(entry.partition, []).append(entry)
        sent = await asyncio.gather(*(self._send_to(topic, *item) for item in by_partition.items()))
        return dict(zip(by_partition, sent, strict=True))

    async def _send_to(self, topic: str, partition: int, entries: Sequence[Entry]) -> list[tuple[int, int]]:
        batches = []
        batch = self._producer.create_batch()
        for entry in entries:
            if batch.append(timestamp=None, key=entry.key, value=entry.value) is None:
                batches.append(batch)
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=entry.key, value=entry.value)
        batches.append(batch)
        try:
            async with asyncio.timeout(PRODUCE_TIMEOUT_S):
                return [await self._acknowledged(each, topic, partition) for each in batches]
        except (KafkaError, TimeoutError) as error:
            raise ProduceFailed(topic, partition, error) from error

    async def _acknowledged(self, batch: BatchBuilder, topic: str, partition: int) -> tuple[int, int]:
        batch.close()
        metadata = await (await self._producer.send_batch(batch, topic, partition=partition))
        return metadata.offset, batch.record_count()
