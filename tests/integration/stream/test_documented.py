"""What docs/stream.md shows, and `./arena watch`, run as written against one worker's stream."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.stream.updates_topic import POOLS, StreamServer, hash_of, header, stream_server

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[3]
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
async def server(kafka: str, chain_name: str) -> AsyncIterator[StreamServer]:
    async with stream_server(kafka, chain_name) as started:
        starting = asyncio.create_task(started.service.started())
        await asyncio.sleep(0.5)
        await started.topic.block(header(1), dict.fromkeys(POOLS[:4], 10))
        await starting
        yield started


@asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().rstrip()


def watching(server: StreamServer, *options: str) -> tuple[tuple[str, ...], dict[str, str]]:
    port = str(urlsplit(server.url).port)
    return ("-m", "commands", "watch", *options), {"ARENA_WEB_PORT": port, "ARENA_WEB_HOST": "127.0.0.1"}


async def test_the_example_of_the_documentation_folds_the_stream(server: StreamServer, tmp_path: Path) -> None:
    (example,) = EXAMPLE.findall((ROOT / "docs" / "stream.md").read_text())
    program = tmp_path / "fold.py"
    program.write_text(example)

    async with running(str(program), server.url) as process:
        first = await line(process)
        await server.topic.block(header(2), {POOLS[5]: 1}, removed=(POOLS[0], POOLS[1]))
        second = await line(process)
        await server.topic.reorg(header(1), header(2), pools={POOLS[0]: 10})
        third = await line(process)

    assert [first, second, third] == [f"1 {hash_of(1)} 4", f"2 {hash_of(2)} 3", f"1 {hash_of(1)} 4"]


async def test_watch_prints_a_line_of_json_per_event(server: StreamServer) -> None:
    command, environment = watching(server, "--json", "--pools", POOLS[0])

    async with running(*command, **environment) as process:
        first = json.loads(await line(process))
        await server.topic.block(header(2), {POOLS[0]: 1, POOLS[1]: 1})
        while (second := json.loads(await line(process)))["event"] == "status":
            pass

    assert (first["event"], first["id"], len(first["pools"])) == ("snapshot", f"1-{hash_of(1)}", 1)
    assert (second["event"], [pool["id"] for pool in second["pools"]]) == ("block", [POOLS[0]])


async def test_watch_prints_for_people(server: StreamServer) -> None:
    command, environment = watching(server, "--protocol", "v2")

    async with running(*command, **environment) as process:
        printed = [await line(process) for _ in range(5)]

    assert printed[0].startswith(f"snapshot 1 {hash_of(1)[:12]}")
    assert printed[0].endswith("4 pools")
    assert all("reserve0=10" in each for each in printed[1:])


async def test_watch_says_that_no_worker_answers() -> None:
    async with running("-m", "commands", "watch", ARENA_WEB_PORT="1", ARENA_WEB_HOST="127.0.0.1") as process:
        assert await line(process) == ""
        assert await process.wait() == 1
