"""A NATS server with JetStream, on loopback."""

import socket
from contextlib import suppress

from lab.devnet.servers.packages import nats_server
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.server import Server


class Nats(Server):
    """Ready when its port greets; keeps JetStream's store from start to start."""

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
        self._process.wait_until(lambda: nats_answers(self.port, greeting), timeout_s=20)


def nats_answers(port: int, greeting: bytes) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.settimeout(2)
        return greeting in connection.recv(4096)
    return False
