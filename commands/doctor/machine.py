"""Checks this machine: the feed's socket, the data directory, its space, file limits and the worker's port."""

import asyncio
import os
import resource
import shutil
import socket
import stat
from pathlib import Path

import aiohttp
from yarl import URL

from commands.doctor.findings import Findings
from settings import Settings

GIB = 2**30
LEAST_GIB = 1
COMFORTABLE_GIB = 10
OPEN_FILES = 4096
"""RocksDB holds some hundred per partition, Kafka's client a socket per broker."""
CONNECT_TIMEOUT_S = 3


async def check_exex(settings: Settings, findings: Findings) -> None:
    path = settings.exex_socket
    start = f"start `arena exex`, or a node whose ExEx listens at {path} (ARENA_EXEX_SOCKET)"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        findings.warning(f"nothing listens at {path}: the bridge reads blocks from the node meanwhile", start)
        return
    except PermissionError:
        findings.problem(f"this user may not look at {path}", "change the directory's permissions")
        return
    if not stat.S_ISSOCK(mode):
        findings.problem(f"{path} is not a socket", "remove it, or set ARENA_EXEX_SOCKET")
        return
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_unix_connection(path)
        writer.close()
    except PermissionError:
        findings.problem(
            f"this user may not connect to {path} (mode {stat.S_IMODE(mode):o})",
            "set ARENA_EXEX_SOCKET_MODE=660 and ARENA_EXEX_SOCKET_GROUP where the feed runs",
        )
    except (OSError, TimeoutError):
        findings.warning(f"{path} is there, and nothing answers: its process has ended", start)
    else:
        findings.ok(f"a feed listens at {path}")


async def check_machine(settings: Settings, findings: Findings) -> None:
    _check_disk(settings.data, findings)
    _check_open_files(findings)
    await _check_port(settings, findings)


def _check_disk(data: Path, findings: Findings) -> None:
    existing = next(path for path in [data.absolute(), *data.absolute().parents] if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        findings.problem(f"{existing} cannot be written by this user", "set ARENA_DATA to a directory of this user's")
        return
    free_gib = shutil.disk_usage(existing).free / GIB
    room = f"{free_gib:.1f} GiB free for ARENA_DATA={data}"
    if free_gib < LEAST_GIB:
        findings.problem(room, "RocksDB stops when the disk is full: make room")
    elif free_gib < COMFORTABLE_GIB:
        findings.warning(room, f"{COMFORTABLE_GIB} GiB leave room for compaction and a standby copy")
    else:
        findings.ok(room)


def _check_open_files(findings: Findings) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        findings.warning(f"this user may open {soft} files", f"ulimit -n {OPEN_FILES}, or LimitNOFILE= in the unit")
    else:
        findings.ok("enough files may be opened")


async def _check_port(settings: Settings, findings: Findings) -> None:
    host, port = settings.web_bind or settings.web_host, settings.web_port
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        if await _is_worker(host, port):
            findings.ok(f"a worker answers at {host}:{port}")
        else:
            findings.problem(
                f"a worker cannot listen at {host}:{port}: {error.strerror}", "set ARENA_WEB_HOST, ARENA_WEB_PORT"
            )
    else:
        findings.ok(f"{host}:{port} is free for a worker")


async def _is_worker(host: str, port: int) -> bool:
    """Whatever it says of its health."""
    url = URL.build(scheme="http", host=host, port=port, path="/healthz")
    timeout = aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.content_type == "application/json"
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
