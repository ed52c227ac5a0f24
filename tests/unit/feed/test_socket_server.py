import grp
import os
import socket as sockets
import stat
from pathlib import Path

import pytest

from settings import Settings
from streams.feed import process as feed
from streams.feed.socket_server import SocketRefused, SocketTaken, serve


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
