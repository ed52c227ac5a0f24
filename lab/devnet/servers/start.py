"""Real servers on loopback: Apache Kafka, NATS with JetStream, anvil. Started, waited for and stopped by us.

`kafka()`, `nats()` and `anvil()` yield an address: that of ARENA_KAFKA, ARENA_NATS or ARENA_RPC where one is set, else
that of a server of their own. The classes can also be killed, frozen and started again where they were.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.devnet.servers.packages import anvil_binary, java, kafka_classpath, nats_server
from lab.devnet.servers.processes import NotStarted, Process, free_port

KAFKA_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.fetch.max.bytes=67108864
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
"""


class Server:
    """One of our servers: the same address and the same data from start to start."""

    name = "server"

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"arena-{self.name}-"))
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        if self._process is None:
            raise NotStarted(f"{self.name} is not running")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """SIGKILL; `start()` continues with the same data."""
        self.process.kill()
        self._process = None

    def freeze(self) -> None:
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Kafka(Server):
    name = "kafka"

    def __init__(self, port: int | None = None) -> None:
        super().__init__()
        self.port = port or free_port()
        self._properties = self.directory / "server.properties"
        self._properties.write_text(
            KAFKA_PROPERTIES.format(port=self.port, controller=free_port(), data=self.directory / "data")
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        if not (self.directory / "data").exists():
            self._tool("format", "-t", self._tool("random-uuid").split()[-1], "-c", str(self._properties))
        options = [
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        command = [java(), *options, "-cp", kafka_classpath(), "kafka.Kafka", str(self._properties)]
        self._process = Process(self.name, command, self.directory / "log")
        self._process.until(lambda: kafka_answers(self.port), timeout_s=60)

    def _tool(self, *arguments: str) -> str:
        command = [java(), "-XX:TieredStopAtLevel=1", "-cp", kafka_classpath(), "kafka.tools.StorageTool", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotStarted(f"kafka's storage could not be prepared:\n{done.stdout}{done.stderr}")
        return done.stdout


METADATA_REQUEST = struct.pack(">ihhih", 14, 3, 1, 7, -1) + struct.pack(">i", 0)
"""Length, api key 3 (Metadata), version 1, correlation id 7, no client id; no topics."""


def kafka_answers(port: int) -> bool:
    """The broker is registered with a controller, as its metadata says; a listening socket is not yet a broker."""
    with suppress(OSError, struct.error), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.settimeout(2)
        connection.sendall(METADATA_REQUEST)
        length, correlation_id, brokers = struct.unpack(">iii", connection.recv(12, socket.MSG_WAITALL))
        rest = connection.recv(length - 8, socket.MSG_WAITALL)
        (controller,) = struct.unpack(">i", rest[-8:-4])
        return bool(correlation_id == 7 and brokers >= 1 and controller >= 0)
    return False


class Nats(Server):
    """It tells readiness by its `PING`-able port, and keeps JetStream's store between starts."""

    name = "nats"

    def __init__(self, port: int | None = None, *, jetstream: bool = True) -> None:
        super().__init__()
        self.port = port or free_port()
        self._store = ["-js", "-sd", str(self.directory / "data")] if jetstream else []

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [nats_server(), "-a", "127.0.0.1", "-p", str(self.port), *self._store]
        self._process = Process(self.name, command, self.directory / "log")
        greeting = b'"jetstream":true' if self._store else b"INFO"
        self._process.until(lambda: nats_answers(self.port, greeting), timeout_s=20)


def nats_answers(port: int, greeting: bytes) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.settimeout(2)
        return greeting in connection.recv(4096)
    return False


class Anvil(Server):
    """Forgets its chain when it stops. `options` are anvil's own command line options."""

    name = "anvil"

    def __init__(self, *options: str, port: int = 0) -> None:
        super().__init__()
        self.port = port
        self._options = options

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        limits = ["--gas-limit", "1000000000", "--code-size-limit", "60000"]
        command = [anvil_binary(), "--host", "127.0.0.1", "--port", str(self.port), *limits, *self._options]
        log = self.directory / "log"
        log.unlink(missing_ok=True)
        self._process = Process(self.name, command, log)
        self._process.until(lambda: self._listens(log), timeout_s=20)

    def _listens(self, log: Path) -> bool:
        match = re.search(r"Listening on 127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        if match:
            self.port = int(match[1])
        return match is not None


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
