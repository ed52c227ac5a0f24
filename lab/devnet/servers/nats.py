"""A NATS server with JetStream, on loopback."""

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.devnet.servers.packages import nats_server
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.server import Server


class Nats(Server):
    """Ready when its port greets; keeps JetStream's store from start to start."""

    name = "nats"

    def __init__(
        self, port: int | None = None, *, jetstream: bool = True, config: Mapping[str, Any] | None = None
    ) -> None:
        """`config`: more of the server's own configuration, such as `max_payload`, `authorization` or `tls`."""
        super().__init__()
        self.port = port or free_port()
        self._greeting = b'"jetstream":true' if jetstream else b"INFO"
        settings: dict[str, Any] = {"listen": f"127.0.0.1:{self.port}"} | dict(config or {})
        if jetstream:
            settings["jetstream"] = {"store_dir": str(self.directory / "data")}
        self._config = self.directory / "nats.conf"
        self._config.write_text(json.dumps(settings))

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = Process(self.name, [nats_server(), "-c", str(self._config)], self.directory / "log")
        self._process.wait_until(lambda: nats_answers(self.port, self._greeting), timeout_s=20)


def tls(certificate: Path, key: Path, client_ca: Path | None = None) -> dict[str, Any]:
    """The `tls` of a config; with `client_ca` clients need a certificate of that authority."""
    config: dict[str, Any] = {"cert_file": str(certificate), "key_file": str(key), "timeout": 2}
    return config if client_ca is None else config | {"ca_file": str(client_ca), "verify": True}


def nats_answers(port: int, greeting: bytes) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.settimeout(2)
        return greeting in connection.recv(4096)
    return False
