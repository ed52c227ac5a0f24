"""A server that tests start, kill, freeze and start again where it was."""

import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.devnet.servers.processes import NotStarted, Process


class Server:
    """Keeps its address and its data from start to start."""

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
