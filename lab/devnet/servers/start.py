"""Real servers for tests and demo: Apache Kafka, NATS with JetStream, anvil.

Each yields the address in ARENA_KAFKA, ARENA_NATS or ARENA_RPC where that is set, else that of a server of its own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.devnet.servers.anvil import Anvil
from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.nats import Nats


@contextmanager
def kafka(port: int | None = None) -> Iterator[str]:
    """host:port of a broker."""
    if given := os.environ.get("ARENA_KAFKA"):
        yield given
        return
    with Kafka(port) as server:
        yield server.address


@contextmanager
def nats(port: int | None = None) -> Iterator[str]:
    """URL of a NATS server."""
    if given := os.environ.get("ARENA_NATS"):
        yield given
        return
    with Nats(port) as server:
        yield server.address


@contextmanager
def anvil(*options: str, port: int = 0) -> Iterator[str]:
    """HTTP URL of an EVM node; the same port speaks WebSocket."""
    if given := os.environ.get("ARENA_RPC"):
        yield given
        return
    with Anvil(*options, port=port) as server:
        yield server.address
