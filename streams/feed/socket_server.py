"""Serves the feed on a Unix socket: each client gets every step from its connect on, or is disconnected."""

import asyncio
import logging
import shutil
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from streams.exex.control_encoder import encode
from streams.feed.blocks import FeedMessage

log = logging.getLogger(__name__)

READ_BYTES = 1 << 12


class SocketTaken(Exception):
    """Another process serves the socket, or the path is not a socket."""


class SocketRefused(Exception):
    """The system refuses the mode or the group of the socket."""


class FeedServer:
    def __init__(self, buffer_bytes: int) -> None:
        self._buffer_bytes = buffer_bytes
        self._clients: set[asyncio.StreamWriter] = set()
        self._stream_seq = 0
        self._has_connected = asyncio.Event()

    async def wait_for_client(self, timeout_s: float) -> None:
        """Returns when the first client connects, or after the time-out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._has_connected.wait()

    def send(self, messages: Sequence[FeedMessage]) -> None:
        """One step: a client gets all of it, or is disconnected if it is too far behind. Never waits."""
        frames = bytearray()
        for message in messages:
            self._stream_seq += 1
            frames += encode(msgspec.structs.replace(message, stream_seq=self._stream_seq))
        for client in list(self._clients):
            self._write(client, bytes(frames))

    def disconnect_all(self) -> None:
        for client in list(self._clients):
            client.close()
        self._clients.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        self._has_connected.set()
        log.info("a client connected, now %d", len(self._clients))
        with suppress(OSError):
            while await reader.read(READ_BYTES):
                pass
        if writer in self._clients:
            self._clients.discard(writer)
            log.info("a client disconnected, now %d", len(self._clients))
        writer.close()

    def _write(self, client: asyncio.StreamWriter, frames: bytes) -> None:
        waiting = client.transport.get_write_buffer_size()
        if waiting > self._buffer_bytes:
            log.warning("a client is disconnected: %d bytes wait for it, the limit is %d", waiting, self._buffer_bytes)
            self._clients.discard(client)
            client.transport.abort()
        elif not client.is_closing():
            client.write(frames)


@asynccontextmanager
async def serve(
    socket: Path, buffer_bytes: int, mode: str | None = None, group: str | None = None
) -> AsyncIterator[FeedServer]:
    """`mode` is octal. Raises SocketTaken, SocketRefused, and OSError where the socket cannot be made."""
    await _expect_free(socket)
    socket.parent.mkdir(parents=True, exist_ok=True)
    server = FeedServer(buffer_bytes)
    listener = await asyncio.start_unix_server(server.accept, socket)
    inode = socket.stat().st_ino
    try:
        _set_permissions(socket, mode, group)
    except SocketRefused:
        listener.close()
        socket.unlink()
        raise
    log.info("the feed is served at %s", socket)
    try:
        yield server
    finally:
        listener.close()
        server.disconnect_all()
        with suppress(FileNotFoundError):
            if socket.stat().st_ino == inode:
                socket.unlink()


def _set_permissions(socket: Path, mode: str | None, group: str | None) -> None:
    try:
        if group is not None:
            shutil.chown(socket, group=group)
        if mode is not None:
            socket.chmod(int(mode, 8))
    except (LookupError, OSError) as error:
        raise SocketRefused(f"{socket} cannot get mode {mode} and group {group}: {error}") from error


async def _expect_free(socket: Path) -> None:
    """Removes the socket of a process that is gone. Raises SocketTaken."""
    try:
        mode = socket.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketTaken(f"{socket} exists and is not a socket; remove it or set ARENA_EXEX_SOCKET to another path")
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except ConnectionRefusedError:
        socket.unlink(missing_ok=True)
        return
    writer.close()
    raise SocketTaken(f"another process serves {socket}; stop it or set ARENA_EXEX_SOCKET to another path")
