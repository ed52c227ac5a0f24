"""The system's own processes: feed, bridge, scraper, workers; each with a log file."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr

from lab.devnet.servers.processes import Process, free_port
from settings import Settings


class ProcessEnded(Exception):
    """A process ended that should run."""


class System:
    def __init__(self, settings: Settings, web_ports: Sequence[int], logs: Path, spare: Settings | None = None) -> None:
        self.settings = settings
        self.urls = [f"http://{settings.web_host}:{port}" for port in web_ports]
        self.processes: dict[str, Process] = {}
        self._spare = spare
        """Settings of a second feed and bridge."""
        self._logs = logs
        self._web_ports = {f"worker-{port}": port for port in web_ports}

    @property
    def names(self) -> list[str]:
        spares = ["exex-2", "bridge-2"] if self._spare is not None else []
        return ["exex", "bridge", *spares, "scraper", *self._web_ports]

    def start(self, name: str) -> Process:
        port = self._web_ports.get(name)
        settings = self._spare if self._spare is not None and name.endswith("-2") else self.settings
        environment = environment_of(settings) | ({"ARENA_WEB_PORT": str(port)} if port else {})
        command = [sys.executable, "-m", "commands", name.partition("-")[0]]
        self.processes[name] = Process(name, command, self._logs / f"{name}.log", environment)
        return self.processes[name]

    def raise_if_ended(self) -> None:
        for name, process in self.processes.items():
            if process.exit_code is not None:
                raise ProcessEnded(
                    f"{name} ended with exit code {process.exit_code}; {process.log} ends with\n{process.log_tail()}"
                )

    def stop(self) -> None:
        """All have ended afterwards."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.stop(15)


@contextmanager
def system(settings: Settings, workers: int, logs: Path, spare: Settings | None = None) -> Iterator[System]:
    """Nothing is started yet; the first worker gets `settings.web_port`, the others free ports."""
    ports = [settings.web_port, *(free_port() for _ in range(workers - 1))]
    with ExitStack() as stack:
        ours = System(settings, ports, logs, spare)
        stack.callback(ours.stop)
        yield ours


def environment_of(settings: Settings) -> dict[str, str]:
    """Makes a process read exactly these settings, whatever .env says."""
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    explicit = {f"ARENA_{name.upper()}": _plain(value) for name, value in values.items() if value is not None}
    return {**os.environ, **explicit}


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
