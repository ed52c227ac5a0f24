import asyncio
import grp
import os
import socket as sockets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import Settings
from streams.exex.control import Decoder
from streams.exex.control_messages import BeginBlock, EndBlock
from streams.feed import process as feed
from streams.feed import socket_server
from streams.feed.socket_server import PART_BYTES, FeedServer, SocketRefused, SocketTaken, serve


async def test_a_stale_socket_is_replaced_and_a_served_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exex.sock"
    stale = sockets.socket(sockets.AF_UNIX)
    stale.bind(str(path))
    stale.close()

    async with serve(path, 1000):
        with pytest.raises(SocketTaken, match="another process serves"):
            await feed.run(Settings(exex_socket=path))

    assert not path.exists()


async def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(SocketTaken, match="exists and is not a socket"):
        await feed.run(Settings(exex_socket=path))

    assert path.read_text() == "data"


@pytest.mark.parametrize("mode", ["600", "0660", "666"])
async def test_the_socket_gets_its_mode_and_group(tmp_path: Path, mode: str) -> None:
    path, group = tmp_path / "exex.sock", grp.getgrgid(os.getgid())

    async with serve(path, 1000, mode, group.gr_name):
        found = path.stat()

    assert stat.S_IMODE(found.st_mode) == int(mode, 8)
    assert found.st_gid == group.gr_gid


async def test_a_group_that_does_not_exist_is_refused_and_leaves_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "exex.sock"

    with pytest.raises(SocketRefused, match="no-such-group"):
        async with serve(path, 1000, None, "no-such-group"):
            pass

    assert not path.exists()


def test_a_mode_that_is_no_octal_number_is_refused_by_the_settings() -> None:
    with pytest.raises(ValueError, match="exex_socket_mode"):
        Settings(exex_socket_mode="rw")


LIMIT = 200_000
HUGE = 60_000
"""Messages: some 2.4 MB."""


class Step:
    """Blocks without updates, and how many messages of them were taken."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self.taken = 0

    def __iter__(self) -> Iterator[BeginBlock | EndBlock]:
        for number in range(self._blocks):
            self.taken += 2
            yield BeginBlock(0, number, number, 7, False)
            yield EndBlock(0, number, 0)


async def until_clients(server: FeedServer, count: int) -> None:
    while len(server._clients) < count:
        await asyncio.sleep(0.01)


async def test_a_step_that_is_larger_than_the_buffer_reaches_a_client_that_reads_it_slowly(tmp_path: Path) -> None:
    path = tmp_path / "exex.sock"
    async with serve(path, LIMIT) as server:
        reader, writer = await asyncio.open_unix_connection(path, limit=PART_BYTES)
        await until_clients(server, 1)
        (client,) = server._clients
        step, decoder, read, most_waiting = Step(HUGE // 2), Decoder(), 0, 0
        sending = asyncio.create_task(server.send(step))
        seqs: list[int] = []
        while len(seqs) < HUGE:
            data = await reader.read(PART_BYTES)
            read += len(data)
            seqs += [message.stream_seq for message in decoder.feed(data)]
            most_waiting = max(most_waiting, client.transport.get_write_buffer_size())
            await asyncio.sleep(0.001)
        await sending
        writer.close()

    assert seqs == list(range(1, HUGE + 1))
    assert most_waiting <= LIMIT + PART_BYTES + 100


async def test_a_client_that_does_not_read_a_huge_step_is_disconnected_before_it_is_made_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "STALLED_S", 0.5)
    path = tmp_path / "exex.sock"
    async with serve(path, LIMIT) as server:
        with sockets.socket(sockets.AF_UNIX) as stuck:
            stuck.connect(str(path))
            await until_clients(server, 1)
            step = Step(HUGE // 2)
            sending = asyncio.create_task(server.send(step))
            await asyncio.sleep(0.3)
            assert step.taken < HUGE // 2
            await sending

            assert not server._clients
            assert step.taken == HUGE


async def test_a_client_that_does_not_read_costs_the_others_only_the_time_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "STALLED_S", 0.5)
    path = tmp_path / "exex.sock"
    async with serve(path, LIMIT) as server:
        with sockets.socket(sockets.AF_UNIX) as stuck:
            stuck.connect(str(path))
            reader, writer = await asyncio.open_unix_connection(path)
            await until_clients(server, 2)
            decoder, began_s = Decoder(), time.monotonic()
            seqs: list[int] = []
            sending = asyncio.create_task(server.send(Step(HUGE // 2)))
            while len(seqs) < HUGE:
                seqs += [message.stream_seq for message in decoder.feed(await reader.read(PART_BYTES))]
            await sending
            writer.close()

    assert seqs == list(range(1, HUGE + 1))
    assert time.monotonic() - began_s < 10


async def test_the_sequence_goes_on_over_steps_and_without_a_client(tmp_path: Path) -> None:
    path = tmp_path / "exex.sock"
    async with serve(path, LIMIT) as server:
        await server.send(Step(3))
        reader, writer = await asyncio.open_unix_connection(path)
        await until_clients(server, 1)
        await server.send(Step(1))

        messages = Decoder().feed(await reader.read(PART_BYTES))
        writer.close()

    assert [message.stream_seq for message in messages] == [7, 8]
