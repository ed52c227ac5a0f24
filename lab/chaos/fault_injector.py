"""Injects the faults of a plan into processes and servers, and restarts what ended, as a process manager does."""

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lab.chaos.faults import RPC_KINDS, WORKERS, Fault, Plan
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers.node_proxy import NodeProxy
from lab.devnet.servers.server import Server
from lab.devnet.servers.system import System

RESTART_S = 1.0
LONGEST_LAG_S = 1.5


class FaultInjector:
    """Faults may be injected from several threads; changes of one process are serialised."""

    def __init__(self, ours: System, servers: Mapping[str, Server], proxy: NodeProxy) -> None:
        self.ended: Counter[str] = Counter()
        """Processes that ended by themselves, with their exit codes."""
        self._ours = ours
        self._servers = servers
        self._proxy = proxy
        self._workers = dict(zip(WORKERS, (name for name in ours.names if name.startswith("worker")), strict=False))
        """The plan's names of workers to the system's."""
        self._down: set[str] = set()
        """Processes that must not run now."""
        self._changing = threading.Lock()
        self._restart_at_s: dict[str, float] = {}

    def start_processes(self, plan: Plan) -> None:
        self._down = {name for planned, name in self._workers.items() if planned not in plan.workers}
        for name in self._ours.names:
            if name not in self._down:
                self._ours.start(name)

    def running(self) -> list[WorkerClient]:
        """The workers that should run now."""
        urls = zip(self._workers.values(), self._ours.urls, strict=True)
        return [WorkerClient(url) for name, url in urls if name not in self._down]

    def inject(self, fault: Fault, began_s: float) -> None:
        """Returns when it is over."""
        time.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
        if fault.kind in RPC_KINDS:
            self._proxy.set_mode(fault.kind, LONGEST_LAG_S * fault.choice)  # type: ignore[arg-type]
            time.sleep(fault.lasts_s)
            self._proxy.set_mode("passing")
        elif fault.target in self._servers:
            _inject_into_server(self._servers[fault.target], fault)
        else:
            self._inject_into_process(fault)

    def _inject_into_process(self, fault: Fault) -> None:
        name = self._workers.get(fault.target, fault.target)
        if fault.kind == "joined":
            self._start(name)
            return
        if fault.kind == "frozen":
            self._signal(name, signal.SIGSTOP)
            time.sleep(fault.lasts_s)
            self._signal(name, signal.SIGCONT)
            return
        self._end(name, gently=fault.kind == "left")
        if fault.kind == "directory lost":
            shutil.rmtree(self._ours.settings.data / name, ignore_errors=True)
        if fault.kind == "directory corrupted":
            _corrupt(self._ours.settings.data / name, fault.choice)
        time.sleep(fault.lasts_s)
        if fault.kind != "left":
            self._start(name)

    def restart_ended(self) -> None:
        """Starts processes again that ended by themselves, after a delay."""
        with self._changing:
            for name, process in self._ours.processes.items():
                if name in self._down or process.exit_code is None:
                    continue
                due_s = self._restart_at_s.setdefault(name, time.monotonic() + RESTART_S)
                if time.monotonic() >= due_s:
                    self.ended[f"{name} ended with {process.exit_code}"] += 1
                    del self._restart_at_s[name]
                    self._ours.start(name)

    def _start(self, name: str) -> None:
        with self._changing:
            self._down.discard(name)
            self._ours.start(name)

    def _end(self, name: str, *, gently: bool) -> None:
        with self._changing:
            self._down.add(name)
            self._restart_at_s.pop(name, None)
            process = self._ours.processes[name]
        _ = process.stop() if gently else process.kill()

    def _signal(self, name: str, number: signal.Signals) -> None:
        with self._changing:
            self._ours.processes[name].signal(number)


def _inject_into_server(server: Server, fault: Fault) -> None:
    if fault.kind == "frozen":
        server.freeze()
        time.sleep(fault.lasts_s)
        server.thaw()
        return
    server.kill()
    time.sleep(fault.lasts_s)
    server.start()


def _corrupt(directory: Path, choice: float) -> None:
    """Some bytes in the middle of one file become others."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)
    if not files:
        return
    path = files[int(choice * (len(files) - 1))]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    for at in range(middle, min(middle + 64, len(content))):
        content[at] ^= 0xA5
    path.write_bytes(content)
