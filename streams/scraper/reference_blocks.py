"""Tells on NATS which block each batch was read at. Nothing depends on it: what fails is logged and counted."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from protocols.types import ProtocolName
from settings import Settings
from streams.kafka.groups import cancel_and_wait
from streams.scraper.metrics import REFERENCE_BLOCKS

log = logging.getLogger(__name__)

TIMEOUT_S = 2


class BatchMetadata(msgspec.Struct, frozen=True):
    batch_number: int
    total_batches: int
    """So far as is known when the batch is read: it grows with what is asked for."""
    protocol: ProtocolName
    pools_in_batch: int


class ReferenceBlock(msgspec.Struct, frozen=True):
    chain: str
    reference_block: int
    snapshot_timestamp: str
    """ISO 8601: when the batch's block became the reference."""
    metadata: BatchMetadata


class ReferenceBlockPublisher:
    def __init__(self, chain: str, client: Client) -> None:
        self._chain = chain
        self._client = client

    async def publish(self, block: int, batch: BatchMetadata) -> None:
        timestamp = datetime.now(UTC).isoformat()
        message = msgspec.json.encode(ReferenceBlock(self._chain, block, timestamp, batch))
        subject = f"whitelist.snapshots.{self._chain}.reference_block"
        try:
            if not self._client.is_connected:
                raise ConnectionError("NATS is not connected")
            await self._client.publish(subject, message)
            await self._client.flush(TIMEOUT_S)
        except (NatsError, OSError, TimeoutError) as error:
            REFERENCE_BLOCKS.labels("failed").inc()
            log.warning("Reference block %d could not be told on %s: %s", block, subject, error or type(error).__name__)
        else:
            REFERENCE_BLOCKS.labels("told").inc()


@asynccontextmanager
async def reference_block_publisher(settings: Settings) -> AsyncIterator[ReferenceBlockPublisher]:
    """Connects in the background and for as long as it takes."""
    client = Client()
    connecting = asyncio.create_task(_connect(client, settings), name="connect to NATS")
    try:
        yield ReferenceBlockPublisher(settings.chain, client)
    finally:
        await cancel_and_wait(connecting)
        if client.is_connected:
            await client.close()


async def _connect(client: Client, settings: Settings) -> None:
    tls = ssl.create_default_context(cafile=str(settings.nats_tls_ca)) if settings.nats_tls_ca else None
    credentials = str(settings.nats_credentials) if settings.nats_credentials else None
    await client.connect(
        settings.nats,
        name="arena scraper",
        error_cb=_log_error,
        max_reconnect_attempts=-1,
        tls=tls,
        user_credentials=credentials,
    )


async def _log_error(error: Exception) -> None:
    log.debug("NATS: %s", error)
