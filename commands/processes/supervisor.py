"""Runs the system's processes on one machine: restarts those that end, ends all together, and prints their logs."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from commands.processes.guard import Guard
from settings import Settings

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0
"""What ran so long begins again with the first delay."""
GRACE_S = 15.0
"""From SIGTERM to SIGKILL."""
LAST_LINES_S = 1.0
"""For what a process printed before it ended."""
CHUNK_BYTES = 2**16


class Part(msgspec.Struct, frozen=True):
    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = {}


def parts(settings: Settings, workers: int) -> list[Part]:
    single = [Part(name, _arena(name), _metrics(settings, at)) for at, name in enumerate(("exex", "bridge", "scraper"))]
    if settings.whitelist_config is not None:
        single.append(Part("whitelist", (*_arena("whitelist"), "run"), _metrics(settings, len(single))))
    ports = range(settings.web_port, settings.web_port + workers)
    return single + [Part(f"worker:{port}", _arena("worker"), {"ARENA_WEB_PORT": str(port)}) for port in ports]


def _metrics(settings: Settings, at: int) -> Mapping[str, str]:
    return {} if settings.metrics_port is None else {"ARENA_METRICS_PORT": str(settings.metrics_port + at)}


def _arena(command: str) -> Sequence[str]:
    return (sys.executable, "-m", "commands", command)


async def run(parts: Sequence[Part]) -> None:
    """Until SIGINT or SIGTERM; then every part has ended."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    guard = Guard()
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(_keep_running(part, stopping, guard), name=part.name)
    finally:
        guard.close()


async def _keep_running(part: Part, stopping: asyncio.Event, guard: Guard) -> None:
    delay_s = FIRST_DELAY_S
    while not stopping.is_set():
        started = time.monotonic()
        exit_code = await _run_once(part, stopping, guard)
        if stopping.is_set():
            return
        if time.monotonic() - started > STEADY_S:
            delay_s = FIRST_DELAY_S
        log.warning("%s ended with exit code %d; starting it again in %.1f s", part.name, exit_code, delay_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), delay_s)
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


async def _run_once(part: Part, stopping: asyncio.Event, guard: Guard) -> int:
    """A session of its own, so that a Ctrl-C reaches it only through us, and its children end with it."""
    process = await asyncio.create_subprocess_exec(
        *part.command,
        env={**os.environ, **part.environment},
        start_new_session=True,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    guard.watch(process.pid)
    log.info("%s is started, pid %d", part.name, process.pid)
    printing = asyncio.create_task(_print_lines(part.name, process.stdout))
    await _ended(process, stopping)
    _signal(process.pid, signal.SIGKILL)
    guard.release(process.pid)
    exit_code = await process.wait()
    await asyncio.wait([printing], timeout=LAST_LINES_S)
    printing.cancel()
    return exit_code


async def _ended(process: asyncio.subprocess.Process, stopping: asyncio.Event) -> None:
    """By itself; or, once all must stop, by SIGTERM or the end of its time."""
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        _signal(process.pid, signal.SIGTERM)
        await asyncio.wait([ended], timeout=GRACE_S)
    stopped.cancel()


async def _print_lines(name: str, output: asyncio.StreamReader) -> None:
    """Each line with the process's name before it; a line longer than a chunk is cut."""
    rest = b""
    while chunk := await output.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > CHUNK_BYTES:
            lines, rest = [*lines, rest], b""
        _print(name, lines)
    _print(name, [rest] if rest else [])


def _print(name: str, lines: Sequence[bytes]) -> None:
    for line in lines:
        print(f"{name:<11} {line.decode(errors='replace')}", file=sys.stderr, flush=True)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
