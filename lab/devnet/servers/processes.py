"""Child processes in groups of their own, which end with us, and free ports."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from commands.processes.guard import Guard


class NotStarted(Exception):
    """A process ended, or was not ready in time; the message has the last lines of its log."""


@cache
def guard() -> Guard:
    return Guard()


class Process:
    """A command running in a process group of its own, its output in a file."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        guard().watch(self.pid)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(timeout_s)
        return None

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def stop(self, timeout_s: float = 10) -> int | None:
        """SIGTERM, then SIGKILL, to the whole group."""
        self.terminate()
        self.wait(timeout_s)
        return self.kill()

    def kill(self) -> int | None:
        self.signal(signal.SIGKILL)
        exit_code = self.wait(10)
        guard().release(self.pid)
        return exit_code

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_code is not None:
                raise NotStarted(
                    f"{self.name} ended with exit code {self.exit_code} before it was ready:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                self.stop()
                raise NotStarted(f"{self.name} was not ready after {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.02)


def free_port() -> int:
    """Below the range of outgoing connections, so that none of those takes the port while its server is down."""
    for _ in range(100):
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotStarted("no free port was found between 15000 and 32000 on 127.0.0.1")
