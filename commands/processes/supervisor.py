"""`arena up`: our processes on one machine, started again when they end, all ended together."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from settings import Settings

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0
"""What ran so long begins again with the first delay."""
GRACE_S = 15.0
"""From SIGTERM to SIGKILL."""


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
    async with asyncio.TaskGroup() as tasks:
        for part in parts:
            tasks.create_task(_keep(part, stopping), name=part.name)


async def _keep(part: Part, stopping: asyncio.Event) -> None:
    delay_s = FIRST_DELAY_S
    while not stopping.is_set():
        started = time.monotonic()
        exit_code = await _once(part, stopping)
        if stopping.is_set():
            return
        if time.monotonic() - started > STEADY_S:
            delay_s = FIRST_DELAY_S
        log.warning("%s ended with exit code %d; starting it again in %.1f s", part.name, exit_code, delay_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), delay_s)
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


async def _once(part: Part, stopping: asyncio.Event) -> int:
    """A session of its own, so that a Ctrl-C reaches it only through us, and its children end with it."""
    process = await asyncio.create_subprocess_exec(
        *part.command, env={**os.environ, **part.environment}, start_new_session=True
    )
    log.info("%s is started, pid %d", part.name, process.pid)
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        _signal(process.pid, signal.SIGTERM)
        await asyncio.wait([ended], timeout=GRACE_S)
    stopped.cancel()
    _signal(process.pid, signal.SIGKILL)
    return await ended


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
