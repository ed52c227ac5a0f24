"""Readers of /stream for the benchmark, in a process of their own: when each had each block's event, and its bytes."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

WRITE_EVERY_S = 0.5
LARGEST_LINE = 2**26


class Arrived(msgspec.Struct, frozen=True):
    number: int
    at_s: float
    """By the clock of time.perf_counter, which all processes of a machine share."""
    bytes: int


async def read_as(readers: int, url: str, log: Path) -> None:
    """The file appears when each reader has its snapshot."""
    host, port = url.removeprefix("http://").split(":")
    lines: list[bytes] = []
    begun: list[asyncio.Event] = [asyncio.Event() for _ in range(readers)]
    async with asyncio.TaskGroup() as group:
        for number in range(readers):
            group.create_task(_read(host, int(port), begun[number], lines))
        for each in begun:
            await each.wait()
        while True:
            written, lines[:] = b"".join(lines), []
            with log.open("ab") as output:
                output.write(written)
            await asyncio.sleep(WRITE_EVERY_S)


async def _read(host: str, port: int, begun: asyncio.Event, lines: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=LARGEST_LINE)
    writer.write(b"GET /stream HTTP/1.1\r\nHost: bench\r\n\r\n")
    name, number, size = b"", 0, 0
    while line := await reader.readline():
        size += len(line)
        if line.startswith(b"event: "):
            name = line[7:].strip()
        elif line.startswith(b"id: "):
            number = int(line[4:].partition(b"-")[0])
        elif line == b"\n" and name:
            begun.set()
            if name == b"block":
                lines.append(msgspec.json.encode(Arrived(number, time.perf_counter(), size)) + b"\n")
            name, size = b"", 0


if __name__ == "__main__":
    asyncio.run(read_as(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
