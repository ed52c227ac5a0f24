"""Workers of lab/chaos/durable/counting_worker.py as processes that can be killed, frozen, wiped and started again."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent


class Worker:
    def __init__(self, name: str, kafka: str, prefix: str, directory: Path, **environment: str) -> None:
        self.name = name
        self.data = directory / name
        self.log = directory / f"{environment.get('COUNT_LOG', name)}.log"
        self.options: list[str] = []
        self._environment = {
            **os.environ,
            "COUNT_KAFKA": kafka,
            "COUNT_ID": prefix,
            "COUNT_DATA": str(self.data),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Worker":
        command = [sys.executable, "-m", "faust", *self.options, "-A", "lab.chaos.durable.counting_worker"]
        command += ["--datadir", str(self.data), "worker", "-l", "info", "--without-web"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        return self

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    async def ended(self, timeout_s: float = 90) -> int:
        """Its exit code."""
        process = self.process
        assert process is not None
        deadline = time.monotonic() + timeout_s
        while (code := process.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not end:\n{self.tail()}")
            await asyncio.sleep(0.05)
        return code

    def wipe(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def says(self, text: str, timeout_s: float = 90, after: int = 0) -> None:
        """Waits for a text in its log, from that position on."""
        deadline = time.monotonic() + timeout_s
        while text not in self.log.read_text(errors="replace")[after:]:
            if time.monotonic() > deadline or not self.alive:
                raise TimeoutError(f"{self.name} does not say {text!r}:\n{self.tail()}")
            await asyncio.sleep(0.1)

    def logged(self) -> int:
        return len(self.log.read_text(errors="replace")) if self.log.exists() else 0

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
