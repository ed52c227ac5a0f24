"""Publishing over NATS, and answering `whitelist.reseed` with the full list published last."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from settings import Settings
from streams.nats.connection import connect_nats
from streams.nats.jetstream import NotStored, publish
from streams.nats.servers import server_addresses
from streams.nats.subscriber import RESEED_SUBJECT
from streams.nats.whitelist_encoder import Envelope, OutgoingMessage, TooLarge
from whitelist.metrics import MESSAGES, RESEEDS
from whitelist.publication.messages import full_list_messages
from whitelist.publication.store import Published, StoreUnreadable, WhitelistStore

log = logging.getLogger(__name__)

RECONNECT_S = 2.0
MIN_RESEED_INTERVAL_S = 1.0
"""Requests that come within this time get one answer."""


class NatsUnavailable(Exception):
    def __init__(self, settings: Settings, error: BaseException) -> None:
        super().__init__(f"NATS at {server_addresses(settings)}: {error or type(error).__name__}; nothing is published")


async def serve_reseeds(settings: Settings, requested: asyncio.Event) -> None:
    """For ever; sets `requested` at each request. A subscriber that cannot use JetStream asks for the list."""
    is_down = False
    while True:
        try:
            async with connect_publisher(settings) as client:
                is_down = False
                await _serve_on(client, settings, requested)
        except (NatsUnavailable, NatsError, NotStored, TooLarge, StoreUnreadable, OSError, TimeoutError) as error:
            if not is_down:
                log.warning("reseed requests are not answered: %s", error)
            is_down = True
        await asyncio.sleep(RECONNECT_S)


async def _serve_on(client: Client, settings: Settings, requested: asyncio.Event) -> None:
    """Until the connection is lost."""
    received = asyncio.Event()

    async def on_request(message: Msg) -> None:
        received.set()

    await client.subscribe(RESEED_SUBJECT, cb=on_request)
    await client.flush()
    while client.is_connected:
        try:
            async with asyncio.timeout(RECONNECT_S):
                await received.wait()
        except TimeoutError:
            continue
        received.clear()
        requested.set()
        published = WhitelistStore(settings).published()
        if published is not None:
            messages = full_list_messages(envelope(settings, published), published, client.max_payload)
            await publish_all(client, settings, messages)
            RESEEDS.inc()
        await asyncio.sleep(MIN_RESEED_INTERVAL_S)


async def publish_all(client: Client, settings: Settings, messages: Sequence[OutgoingMessage]) -> None:
    """In order, each acknowledged by JetStream. Raises NotStored, nats.errors.Error, TimeoutError."""
    await publish(client, settings.chain, messages)
    for message in messages:
        MESSAGES.labels(message.subject).inc()


@asynccontextmanager
async def connect_publisher(settings: Settings) -> AsyncIterator[Client]:
    """Raises NatsUnavailable, also for what fails inside."""
    try:
        async with connect_nats(settings) as client:
            yield client
    except (NatsError, OSError, TimeoutError) as error:
        raise NatsUnavailable(settings, error) from error


def envelope(settings: Settings, published: Published) -> Envelope:
    """With the time of the list, not of the message, so that it agrees with `snapshot_id`."""
    at = datetime.fromtimestamp(published.snapshot_id / 1000, UTC)
    return Envelope(settings.chain, at.isoformat(), published.snapshot_id)
