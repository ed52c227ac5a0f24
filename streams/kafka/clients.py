"""The Kafka clients: how they authenticate, and the largest record that they send and read."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from settings import Settings

log = logging.getLogger(__name__)

LARGEST_RECORD_BYTES = 32 * 2**20
"""A snapshot of 50,000 ticks is several MB."""
BATCH_BYTES = 512 * 2**10
STOP_TIMEOUT_S = 5.0


def client_options(settings: Settings) -> dict[str, Any]:
    """Where Kafka is and how to be let in: the options that every aiokafka client takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka,
        "security_protocol": _security_protocol(settings),
    }
    if settings.kafka_tls_ca is not None:
        options["ssl_context"] = ssl.create_default_context(cafile=str(settings.kafka_tls_ca))
    if settings.kafka_username is not None:
        password = settings.kafka_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = password.get_secret_value() if password else ""
    return options


def fetch_limits() -> dict[str, int]:
    """Options of a consumer that reads records of LARGEST_RECORD_BYTES."""
    return {"max_partition_fetch_bytes": LARGEST_RECORD_BYTES, "fetch_max_bytes": 2 * LARGEST_RECORD_BYTES}


def producer(settings: Settings) -> AIOKafkaProducer:
    """To be made inside a running loop, and started by the caller."""
    return AIOKafkaProducer(
        **client_options(settings),
        enable_idempotence=True,
        acks="all",
        max_request_size=LARGEST_RECORD_BYTES,
        max_batch_size=BATCH_BYTES,
        linger_ms=0,
    )


@asynccontextmanager
async def producing(settings: Settings, stop_timeout_s: float = STOP_TIMEOUT_S) -> AsyncIterator[AIOKafkaProducer]:
    """Ends even where Kafka is gone: what it did not acknowledge by then is dropped for good."""
    sender = producer(settings)
    await sender.start()
    try:
        yield sender
    finally:
        try:
            async with asyncio.timeout(stop_timeout_s):
                await sender.stop()
        except TimeoutError:
            log.warning("Kafka at %s did not take what was still to be sent; it is dropped", settings.kafka)
            await sender._sender.close()  # no public way out of a flush that cannot end
            await sender.client.close()


def _security_protocol(settings: Settings) -> str:
    encryption = "PLAINTEXT" if settings.kafka_tls_ca is None else "SSL"
    return encryption if settings.kafka_username is None else f"SASL_{encryption}"
