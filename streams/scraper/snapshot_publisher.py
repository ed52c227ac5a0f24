"""Publishes the scraper's records: a snapshot for every pool that was read, and dead letters of `wanted`."""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from protocols.registry import State
from protocols.types import Block, PoolId
from streams.kafka.quotation import QUOTED_KEY_BYTES
from streams.kafka.records import Record, Snapshot, Undecodable, Unreadable, dead_letter, encode_record
from streams.kafka.topics import topics
from streams.snapshots.contract_checks import NoState

log = logging.getLogger(__name__)


class NotPublished(Exception):
    def __init__(self, topic: str, error: KafkaError) -> None:
        super().__init__(f"Kafka did not take a record for topic {topic} ({error!r}); the scraper stops")


class SnapshotPublisher:
    def __init__(self, chain: str, producer: AIOKafkaProducer) -> None:
        self._topics = topics(chain)
        self._producer = producer

    async def publish(self, block: Block, outcomes: Mapping[PoolId, State | NoState]) -> None:
        """Returns when every record is acknowledged. Raises NotPublished."""
        sends = [self._send_outcome(pool, block, outcome) for pool, outcome in outcomes.items()]
        await asyncio.gather(*sends)

    async def dead_letter(self, record: ConsumerRecord, error: Undecodable) -> None:
        """Raises NotPublished."""
        origin = record.topic, record.partition, record.offset
        letter = dead_letter(origin, str(error), record.key, record.value)
        await self._send(self._topics.dead_letters, (record.key or b"")[:QUOTED_KEY_BYTES], letter)

    async def _send_outcome(self, pool: PoolId, block: Block, outcome: State | NoState) -> None:
        key = pool.encode()
        if isinstance(outcome, NoState):
            log.debug("%s cannot be read at block %d: %s", pool, block.number, outcome.reason)
            await self._send(self._topics.snapshots, key, Unreadable(pool, block, outcome.reason))
            return
        try:
            await self._send(self._topics.snapshots, key, Snapshot(pool, block, outcome))
        except MessageSizeTooLargeError as error:
            log.error("the snapshot of %s is larger than a record may be: %s", pool, error)  # noqa: TRY400  said it all
            await self._send(
                self._topics.snapshots, key, Unreadable(pool, block, "its state is too large for a record")
            )

    async def _send(self, topic: str, key: bytes | None, record: Record) -> None:
        try:
            await self._producer.send_and_wait(topic, key=key, value=encode_record(record))
        except MessageSizeTooLargeError:
            raise
        except KafkaError as error:
            raise NotPublished(topic, error) from error
