"""One connection to NATS, with the settings' credentials and TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client

from settings import Settings

CONNECT_TIMEOUT_S = 5
PING_INTERVAL_S = 10
RECONNECT_WAIT_S = 0.25


@asynccontextmanager
async def connect_nats(settings: Settings, **callbacks: Any) -> AsyncIterator[Client]:
    """One connection without reconnect. Raises nats.errors.Error, OSError, TimeoutError."""
    tls = None if settings.nats_tls_ca is None else ssl.create_default_context(cafile=settings.nats_tls_ca)
    client = await nats.connect(
        settings.nats,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=RECONNECT_WAIT_S,
        connect_timeout=CONNECT_TIMEOUT_S,
        ping_interval=PING_INTERVAL_S,
        tls=tls,
        user_credentials=None if settings.nats_credentials is None else str(settings.nats_credentials),
        **callbacks,
    )
    try:
        yield client
    finally:
        await client.close()


def server_addresses(settings: Settings) -> str:
    """The servers' addresses, without credentials."""
    return ",".join(urlsplit(url).netloc.rpartition("@")[2] or url for url in settings.nats.split(","))
