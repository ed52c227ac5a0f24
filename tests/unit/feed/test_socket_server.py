import socket as sockets
from pathlib import Path

import pytest

from settings import Settings
from streams.feed import process as feed
from streams.feed.socket_server import SocketTaken, serve


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
