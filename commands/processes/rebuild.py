"""Folds the topics from their start into the table of another application, beside the workers that serve."""

import asyncio
import logging
import os
import shutil
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from commands.queries.worker_client import Unanswered, ask
from protocols.types import Block
from replay.target import target_block
from settings import Settings
from streams.kafka.topics import topics
from tables.pool import WaitingKind

log = logging.getLogger(__name__)

POLL_S = 0.5
REPORT_S = 10.0
STOP_TIMEOUT_S = 30.0
WITHOUT_SNAPSHOT = {WaitingKind.UNREADABLE, WaitingKind.UNINITIALIZED, WaitingKind.DOES_NOT_FOLLOW_ITS_LOGS}
"""Reasons of pools that wait in any table: no rebuilt one need wait for them."""


LOOPBACK = "127.0.0.1"


class Goal(NamedTuple):
    block: int
    partitions: int
    waiting: int
    """Pools that wait in the table that serves: so many may wait in the new one."""


class RebuildFailed(Exception):
    """The worker that rebuilds ended before the table was complete."""


async def rebuild(settings: Settings, command: Sequence[str]) -> Block:
    """Until the table is complete at the newest block of now, or later; returns that block.

    What is running is not touched: the group, the changelog and the directory are the application's own, and nothing
    is written to the topic `updates`. A rebuild that was stopped goes on where it was. Raises RebuildFailed,
    NoSuchBlock.
    """
    target = await target_block(settings, topics(settings.chain).chain, None)
    goal = Goal(target.number, settings.partitions, await asyncio.to_thread(_waiting, settings))
    own = settings.model_copy(update={"web_port": _free_port(), "web_host": LOOPBACK})
    environment = {
        **os.environ,
        "ARENA_APPLICATION": own.application_id,
        "ARENA_UPDATES": "false",
        "ARENA_WEB_PORT": str(own.web_port),
        **dict.fromkeys(("ARENA_WEB_HOST", "ARENA_WEB_BIND", "ARENA_WEB_ADVERTISED"), LOOPBACK),
    }
    worker = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        await _wait_until_complete(own, goal, worker)
    finally:
        await _stop(worker)
        shutil.rmtree(own.worker_directory, ignore_errors=True)
    return target


async def _wait_until_complete(settings: Settings, goal: Goal, worker: Process) -> None:
    loop = asyncio.get_running_loop()
    report_at_s = loop.time() + REPORT_S
    while True:
        if worker.returncode is not None:
            raise RebuildFailed(f"the worker that rebuilds ended with exit code {worker.returncode}; its log says why")
        status = await asyncio.to_thread(_status, settings)
        if is_complete(status, goal):
            return
        if loop.time() >= report_at_s:
            log.info("rebuilding to block %d: %s", goal.block, _progress(status))
            report_at_s = loop.time() + REPORT_S
        await asyncio.sleep(POLL_S)


def is_complete(status: Mapping[str, Any], goal: Goal) -> bool:
    """By /status/: every partition is at the block, and no pool waits that a snapshot would help."""
    rows = status.get("partitions", [])
    heads = [row["head"]["number"] for row in rows if row["ready"] and row["head"]]
    if len(heads) < goal.partitions or min(heads) < goal.block:
        return False
    return set(status["reasons"]) <= WITHOUT_SNAPSHOT or status["pools"]["waiting"] <= goal.waiting


def _status(settings: Settings) -> dict[str, Any]:
    """Empty while the worker does not answer."""
    try:
        return ask(settings, "/status/", {})
    except Unanswered:
        return {}


def _waiting(settings: Settings) -> int:
    return int(_status(settings).get("pools", {}).get("waiting", 0))


def _progress(status: Mapping[str, Any]) -> str:
    rows = status.get("partitions", [])
    heads = [row["head"]["number"] if row["head"] else 0 for row in rows]
    if not heads:
        return "its worker is starting"
    pools = status["pools"]
    return f"the partitions are at block {min(heads)} and later, {pools['live']} pools live, {pools['waiting']} waiting"


async def _stop(worker: Process) -> None:
    if worker.returncode is None:
        worker.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
