"""A Kafka broker, its own controller (KRaft), on loopback."""

import socket
import struct
import subprocess
from contextlib import suppress

from lab.devnet.servers.kafka_security import KafkaSecurity
from lab.devnet.servers.packages import java, kafka_classpath
from lab.devnet.servers.processes import NotStarted, Process, free_port
from lab.devnet.servers.server import Server

KAFKA_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{secured}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{secured}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
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


class Kafka(Server):
    name = "kafka"

    def __init__(self, port: int | None = None, *, secured: bool = False) -> None:
        """`secured`: with listeners for SASL over TLS and mutual TLS beside the plain one; see `security`."""
        super().__init__()
        self.port = port or free_port()
        self.security = KafkaSecurity(self.directory) if secured else None
        self._properties = self.directory / "server.properties"
        properties = KAFKA_PROPERTIES.format(
            port=self.port,
            controller=free_port(),
            data=self.directory / "data",
            secured=self.security.listeners if self.security else "",
        )
        self._properties.write_text(properties + (self.security.properties if self.security else ""))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        if not (self.directory / "data").exists():
            users = self.security.format_options if self.security else ()
            self._tool("format", "-t", self._tool("random-uuid").split()[-1], "-c", str(self._properties), *users)
        options = [
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        command = [java(), *options, "-cp", kafka_classpath(), "kafka.Kafka", str(self._properties)]
        self._process = Process(self.name, command, self.directory / "log")
        self._process.wait_until(lambda: kafka_answers(self.port), timeout_s=60)

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
