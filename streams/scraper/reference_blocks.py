"""Publishes on NATS which block each batch was read at. Nothing depends on it: failures are logged and counted."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from protocols.types import ProtocolName
from settings import Settings
from streams.kafka.groups import cancel_and_wait
from streams.nats.connection import connect_nats
from streams.nats.servers import tls_context
from streams.retry import Retries
from streams.scraper.metrics import REFERENCE_BLOCKS

log = logging.getLogger(__name__)

TIMEOUT_S = 2


class BatchMetadata(msgspec.Struct, frozen=True):
    batch_number: int
    total_batches: int
    """As far as is known when the batch is read: it grows with further requests."""
    protocol: ProtocolName
    pools_in_batch: int


class ReferenceBlock(msgspec.Struct, frozen=True):
    chain: str
    reference_block: int
    snapshot_timestamp: str
    """ISO 8601: when the batch's block became the reference."""
    metadata: BatchMetadata


class ReferenceBlockPublisher:
    """Publishes while NATS is connected, and never waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None

    async def publish(self, block: int, batch: BatchMetadata) -> None:
        chain = self._settings.chain
        message = msgspec.json.encode(ReferenceBlock(chain, block, datetime.now(UTC).isoformat(), batch))
        try:
            if self._client is None:
                raise ConnectionError("NATS is not connected")
            await self._client.publish(f"whitelist.snapshots.{chain}.reference_block", message)
            await self._client.flush(TIMEOUT_S)
        except (NatsError, OSError, TimeoutError) as error:
            REFERENCE_BLOCKS.labels("failed").inc()
            log.warning("reference block %d is not published: %s", block, error or type(error).__name__)
        else:
            REFERENCE_BLOCKS.labels("published").inc()

    async def keep_connected(self) -> None:
        """For ever."""
        retries = Retries("NATS", (NatsError, OSError, TimeoutError))
        async for attempt in retries:
            with attempt:
                await self._connect_until_lost(retries)

    async def _connect_until_lost(self, retries: Retries) -> None:
        """Raises ConnectionError when the connection is lost, and what connect_nats raises."""
        lost = asyncio.Event()

        async def closed() -> None:
            lost.set()

        async with connect_nats(self._settings, on_closed=closed) as client:
            retries.reset()
            self._client = client
            try:
                await lost.wait()
            finally:
                self._client = None
        raise ConnectionError("the connection is lost")


@asynccontextmanager
async def reference_block_publisher(settings: Settings) -> AsyncIterator[ReferenceBlockPublisher]:
    """Raises InsecureNats."""
    tls_context(settings)
    publisher = ReferenceBlockPublisher(settings)
    connection = asyncio.create_task(publisher.keep_connected(), name="connection to NATS")
    try:
        yield publisher
    finally:
        await cancel_and_wait(connection)
