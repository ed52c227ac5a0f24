"""An anvil node, on loopback."""

import re
from pathlib import Path

from lab.devnet.servers.packages import anvil_binary
from lab.devnet.servers.processes import Process
from lab.devnet.servers.server import Server


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
        self._process.wait_until(lambda: self._listens(log), timeout_s=20)

    def _listens(self, log: Path) -> bool:
        match = re.search(r"Listening on 127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        if match:
            self.port = int(match[1])
        return match is not None
