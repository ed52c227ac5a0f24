"""The Kafka clients: how they authenticate, and the largest record that they send and read."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_lz4, has_zstd

from settings import Settings

log = logging.getLogger(__name__)

LARGEST_RECORD_BYTES = 32 * 2**20
"""A snapshot of 50,000 ticks is several MB."""
BATCH_BYTES = 512 * 2**10
STOP_TIMEOUT_S = 5.0


class CompressionMissing(Exception):
    def __init__(self, compression: str) -> None:
        super().__init__(f"ARENA_KAFKA_COMPRESSION={compression} needs the Python package cramjam; or set gzip")


class InsecureKafka(Exception):
    """The settings would send a password in clear, or name a certificate that cannot be used."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Address and credentials: the options that every aiokafka client takes. Raises InsecureKafka."""
    context = tls_context(settings)
    encryption = "PLAINTEXT" if context is None else "SSL"
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka,
        "security_protocol": encryption if settings.kafka_username is None else f"SASL_{encryption}",
        "ssl_context": context,
    }
    if settings.kafka_username is not None:
        password = settings.kafka_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = password.get_secret_value() if password else ""
    return options


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """None where Kafka is reached without TLS. Raises InsecureKafka."""
    certificate, key = settings.kafka_tls_certificate, settings.kafka_tls_key
    if not settings.kafka_tls and settings.kafka_tls_ca is None and certificate is None:
        _refuse_clear_password(settings)
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_tls_ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key, password="")  # else OpenSSL asks for it on the terminal
    except OSError as error:  # ssl.SSLError too
        raise InsecureKafka(f"the TLS files for Kafka cannot be used ({_files(settings)}): {error}") from error
    return context


def _refuse_clear_password(settings: Settings) -> None:
    """Also for SCRAM: an exchange that can be read is open to guessing, and nothing says who answers."""
    if settings.kafka_username is None:
        return
    if remote := [server for server in settings.kafka.split(",") if not _is_loopback(server)]:
        raise InsecureKafka(
            f"the Kafka password would go in clear to {remote[0]}; set ARENA_KAFKA_TLS=true, or ARENA_KAFKA_TLS_CA"
        )


def _is_loopback(server: str) -> bool:
    host = urlsplit(f"//{server.strip()}").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _files(settings: Settings) -> str:
    named = {
        "ARENA_KAFKA_TLS_CA": settings.kafka_tls_ca,
        "ARENA_KAFKA_TLS_CERTIFICATE": settings.kafka_tls_certificate,
        "ARENA_KAFKA_TLS_KEY": settings.kafka_tls_key,
    }
    return ", ".join(f"{name}={path}" for name, path in named.items() if path is not None)


def fetch_limits() -> dict[str, int]:
    """Options of a consumer that reads records of LARGEST_RECORD_BYTES."""
    return {"max_partition_fetch_bytes": LARGEST_RECORD_BYTES, "fetch_max_bytes": 2 * LARGEST_RECORD_BYTES}


def producer(settings: Settings, *, compressed: bool = False) -> AIOKafkaProducer:
    """To be made inside a running loop, and started by the caller. Raises CompressionMissing."""
    return AIOKafkaProducer(
        compression_type=compression_type(settings) if compressed else None,
        **client_options(settings),
        enable_idempotence=True,
        acks="all",
        max_request_size=LARGEST_RECORD_BYTES,
        max_batch_size=BATCH_BYTES,
        linger_ms=0,
    )


@asynccontextmanager
async def producing(
    settings: Settings, stop_timeout_s: float = STOP_TIMEOUT_S, *, compressed: bool = False
) -> AsyncIterator[AIOKafkaProducer]:
    """Ends even where Kafka is gone: what it did not acknowledge by then is dropped for good."""
    sender = producer(settings, compressed=compressed)
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


def compression_type(settings: Settings) -> str | None:
    """Raises CompressionMissing."""
    name = settings.kafka_compression
    if (name == "lz4" and not has_lz4()) or (name == "zstd" and not has_zstd()):
        raise CompressionMissing(name)
    return None if name == "none" else name
