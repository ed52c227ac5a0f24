"""Starts a Kafka client, and names the cause where it cannot connect.

aiokafka raises the same KafkaConnectionError whatever is wrong, and only logs the cause. So on a failure one connection
is opened by itself, which raises the real one.
"""

import ssl
from typing import Protocol

from aiokafka.conn import create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from settings import Settings
from streams.kafka.clients import client_options

TIMEOUT_MS = 5_000
DEFAULT_PORT = 9092


class KafkaRefused(Exception):
    """Kafka is there, and the settings are wrong: trying again does not help."""


class KafkaUnanswered(KafkaConnectionError):  # type: ignore[misc] # aiokafka is not typed
    """No broker answers, or none ends the handshake; the message says why."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KafkaError's own has the class's name before it


class Client(Protocol):
    async def start(self) -> None: ...


async def start_client(settings: Settings, client: Client) -> None:
    """Raises KafkaRefused, KafkaUnanswered."""
    try:
        await client.start()
    except KafkaConnectionError as error:
        await explain(settings)
        raise KafkaUnanswered(str(error)) from error


async def explain(settings: Settings) -> None:
    """Returns if a connection to one of the servers works. Raises KafkaRefused, KafkaUnanswered for the last."""
    last: Exception | None = None
    for server in settings.kafka.split(","):
        try:
            return await _try_connection(settings, server.strip())
        except (KafkaRefused, KafkaUnanswered) as error:
            last = error
    if last is not None:
        raise last


async def _try_connection(settings: Settings, server: str) -> None:
    host, _, port = server.rpartition(":") if ":" in server.rpartition("]")[2] else (server, "", str(DEFAULT_PORT))
    options = {name: value for name, value in client_options(settings).items() if name != "bootstrap_servers"}
    try:
        connection = await create_conn(host.strip("[]"), int(port), request_timeout_ms=TIMEOUT_MS, **options)
    except SaslAuthenticationFailed as error:
        raise KafkaRefused(
            f"Kafka at {server} refuses ARENA_KAFKA_USERNAME and ARENA_KAFKA_PASSWORD: {_sentence(error)}"
        ) from error
    except UnsupportedSaslMechanismError as error:
        raise KafkaRefused(
            f"Kafka at {server} has not enabled {settings.kafka_sasl_mechanism}; set ARENA_KAFKA_SASL_MECHANISM to "
            f"another mechanism"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise KafkaRefused(
            f"the certificate of Kafka at {server} is not trusted: {error.verify_message}; set ARENA_KAFKA_TLS_CA to "
            "the PEM file of its authority"
        ) from error
    except ssl.SSLError as error:
        reason = f"no TLS connection to Kafka at {server}: {error.reason or error}; is it a port without TLS?"
        raise KafkaUnanswered(reason) from error
    except (OSError, TimeoutError) as error:
        raise KafkaUnanswered(f"{server}: {getattr(error, 'strerror', None) or _silence(settings)}") from error
    except KafkaError as error:
        raise KafkaUnanswered(f"Kafka at {server} closed the connection; {_expectation(settings)}") from error
    connection.close()


def _silence(settings: Settings) -> str:
    is_tls = client_options(settings)["ssl_context"] is not None
    return "no answer to the TLS handshake; is it a port without TLS?" if is_tls else "no answer"


def _sentence(error: KafkaError) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _expectation(settings: Settings) -> str:
    """A broker does not say why it closes a connection in the handshake."""
    if settings.kafka_tls_certificate is not None:
        return "it may not trust ARENA_KAFKA_TLS_CERTIFICATE"
    if client_options(settings)["ssl_context"] is not None:
        return "it may want a client certificate (ARENA_KAFKA_TLS_CERTIFICATE)"
    return "it may want TLS (ARENA_KAFKA_TLS, ARENA_KAFKA_TLS_CA)"
