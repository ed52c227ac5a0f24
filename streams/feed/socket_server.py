"""Serves the feed on a Unix socket: each client gets every step from its connect on, or is disconnected."""

import asyncio
import logging
import shutil
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from streams.exex.control_encoder import encode
from streams.feed.blocks import FeedMessage

log = logging.getLogger(__name__)

READ_BYTES = 1 << 12
PART_BYTES = 1 << 16
STALLED_S = 5.0
"""In the middle of a step a client must have read a quarter of what waits for it after so long."""


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

    async def send(self, messages: Iterable[FeedMessage]) -> None:
        """One step: a client gets all of it, or is disconnected if it is too far behind.

        A step of more than one part, such as a deep reorg, is encoded as fast as the clients read it, so that it never
        lies in memory as a whole; a client that does not read meanwhile is disconnected after STALLED_S.
        """
        clients = [client for client in self._clients if self._has_room(client)]
        for client in self._clients.difference(clients):
            self._disconnect(client)
        parts = self._parts(messages)
        for part in parts:
            for client in clients:
                if not client.is_closing():
                    client.write(part)
            if len(part) >= PART_BYTES:
                await asyncio.sleep(0)
                await self._wait_for_room([client for client in clients if not self._has_room(client)])

    def _parts(self, messages: Iterable[FeedMessage]) -> Iterator[bytes]:
        frames = bytearray()
        for message in messages:
            self._stream_seq += 1
            frames += encode(msgspec.structs.replace(message, stream_seq=self._stream_seq))
            if len(frames) >= PART_BYTES:
                yield bytes(frames)
                frames.clear()
        if frames:
            yield bytes(frames)

    def disconnect_all(self) -> None:
        for client in list(self._clients):
            client.close()
        self._clients.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=self._buffer_bytes, low=self._buffer_bytes * 3 // 4)
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

    def _has_room(self, client: asyncio.StreamWriter) -> bool:
        return client.is_closing() or client.transport.get_write_buffer_size() <= self._buffer_bytes

    async def _wait_for_room(self, clients: Sequence[asyncio.StreamWriter]) -> None:
        """Disconnects those that do not read."""
        if not clients:
            return
        drains = {asyncio.create_task(_drain(client)): client for client in clients}
        _, stalled = await asyncio.wait(drains, timeout=STALLED_S)
        for task in stalled:
            task.cancel()
            self._disconnect(drains[task])

    def _disconnect(self, client: asyncio.StreamWriter) -> None:
        waiting = client.transport.get_write_buffer_size()
        log.warning("a client is disconnected: %d bytes wait for it, the limit is %d", waiting, self._buffer_bytes)
        self._clients.discard(client)
        client.transport.abort()


async def _drain(client: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # a client that is gone has room
        await client.drain()


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
