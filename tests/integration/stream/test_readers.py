"""Readers of one worker's /stream, on a topic that the test writes: what they get, and what becomes of slow ones."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.stream.updates_topic import (
    DAI,
    POOLS,
    USDC,
    WETH,
    StreamServer,
    hash_of,
    header,
    stream_server,
)

pytestmark = pytest.mark.servers

Event = tuple[str, str | None, dict[str, Any]]
FIRST = {pool: 10 for pool in POOLS[:4]}


@pytest.fixture
async def server(kafka: str, chain_name: str) -> AsyncIterator[StreamServer]:
    """At block 3; blocks 1 to 3 are remembered."""
    async with stream_server(kafka, chain_name) as started:
        starting = asyncio.create_task(started.service.started())
        await asyncio.sleep(0.5)
        await started.topic.block(header(1), FIRST)
        await started.topic.block(header(2), {POOLS[0]: 20})
        await started.topic.block(header(3), {POOLS[1]: 30})
        await starting
        await reached(started, 3)
        yield started


async def reached(server: StreamServer, number: int) -> None:
    async with asyncio.timeout(20):
        while (head := server.service.timeline.head) is None or head.number < number:
            await asyncio.sleep(0.02)


class Reading:
    """One connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Event:
        """But for status events."""
        while True:
            found = await self.next_of_all()
            if found[0] != "status":
                return found

    async def next_of_all(self) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            while line := (await self.response.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
        if not fields:
            raise EOFError
        return fields["event"], fields.get("id"), json.loads(fields["data"])

    async def take(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(read_bufsize=2**20) as opened:
        yield opened


async def read(
    session: aiohttp.ClientSession, server: StreamServer, query: str = "", headers: dict[str, str] | None = None
) -> Reading:
    response = await session.get(f"{server.url}/stream?{query}", headers=headers)
    assert response.status == 200, await response.text()
    assert response.content_type == "text/event-stream"
    return Reading(response)


def reserves(event: Event) -> dict[str, int | None]:
    return {pool["id"]: int(pool["state"]["reserve0"]) if pool["state"] else None for pool in event[2]["pools"]}


def block_id(number: int, fork: str = "a") -> str:
    return f"{number}-{hash_of(number, fork)}"


async def test_a_snapshot_comes_first_and_then_each_block(server: StreamServer, session: aiohttp.ClientSession) -> None:
    reading = await read(session, server)
    snapshot = await reading.next()
    await server.topic.block(header(4), {POOLS[0]: 40, POOLS[5]: None}, removed=(POOLS[3],), finalized=2)
    block = await reading.next()

    assert (snapshot[0], snapshot[1]) == ("snapshot", block_id(3))
    assert reserves(snapshot) == FIRST | {POOLS[0]: 20, POOLS[1]: 30}
    assert (block[0], block[1]) == ("block", block_id(4))
    assert reserves(block) == {POOLS[0]: 40, POOLS[5]: None}
    assert block[2]["removed"] == [POOLS[3]]
    assert block[2]["block"] == {
        "number": 4,
        "hash": hash_of(4),
        "parent_hash": hash_of(3),
        "timestamp": 1_700_000_004,
    }
    assert (block[2]["chain"], block[2]["chain_id"], block[2]["finalized"]) == (server.topic.settings.chain, 1, 2)
    assert block[2]["age_s"] > 0


async def test_a_status_comes_though_nothing_happens(server: StreamServer, session: aiohttp.ClientSession) -> None:
    reading = await read(session, server)
    await reading.next()

    name, id_, status = await reading.next_of_all()

    assert (name, id_) == ("status", block_id(3))
    assert (status["pools"], status["lag_blocks"]) == ({"live": 4, "waiting": 0}, 0)


async def test_a_block_waits_for_all_partitions_and_the_lag_is_shown(
    server: StreamServer, session: aiohttp.ClientSession
) -> None:
    reading = await read(session, server)
    await reading.next()

    await server.topic.block(header(4), dict.fromkeys(POOLS[:4], 44), only=0)
    status = await reading.next_of_all()
    await server.topic.block(header(4), dict.fromkeys(POOLS[:4], 44), only=1)
    block = await reading.next()

    assert (status[0], status[2]["block"]["number"], status[2]["lag_blocks"]) == ("status", 3, 1)
    assert reserves(block) == dict.fromkeys(POOLS[:4], 44)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"pools={POOLS[0]},{POOLS[7].upper().replace('0X', '0x')}", {POOLS[0]}),
        (f"tokens={USDC}", set(POOLS[:4])),
        (f"tokens={DAI}", set()),
        (f"tokens={DAI},{WETH}&protocol=v2", set(POOLS[:4])),
        ("protocol=v3,v4", set()),
    ],
)
async def test_filters_choose_pools_by_comma(
    server: StreamServer, session: aiohttp.ClientSession, query: str, expected: set[str]
) -> None:
    reading = await read(session, server, query)
    snapshot = await reading.next()
    await server.topic.block(header(4), dict.fromkeys(POOLS[:4], 44), removed=(POOLS[2],))
    block = await reading.next()

    assert set(reserves(snapshot)) == expected
    assert set(reserves(block)) == expected - {POOLS[2]}
    assert set(block[2]["removed"]) == expected & {POOLS[2]}


@pytest.mark.parametrize(
    "query", ["pools=0x12", "tokens=weth", "protocol=v9", "finality=soon", "ticks=maybe", f"pools={POOLS[0]},x"]
)
async def test_what_cannot_be_read_is_refused_with_a_sentence(
    server: StreamServer, session: aiohttp.ClientSession, query: str
) -> None:
    async with session.get(f"{server.url}/stream?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]


async def test_a_reader_resumes_after_the_last_event_it_has(
    server: StreamServer, session: aiohttp.ClientSession
) -> None:
    by_header = await read(session, server, headers={"Last-Event-ID": block_id(1)})
    by_query = await read(session, server, f"last_event_id={block_id(2)}")

    assert [(each[0], each[1]) for each in await by_header.take(2)] == [("block", block_id(2)), ("block", block_id(3))]
    assert reserves(await by_query.next()) == {POOLS[1]: 30}


async def test_a_reader_of_a_dropped_fork_gets_the_reorg_first(
    server: StreamServer, session: aiohttp.ClientSession
) -> None:
    await server.topic.reorg(header(1), header(2), header(3), pools={POOLS[0]: 10, POOLS[1]: 10})
    await server.topic.block(header(2, "b", "a"), {POOLS[2]: 22})
    await server.topic.block(header(3, "b"), {POOLS[3]: 33})
    await server.topic.block(header(4, "b"))
    await reached(server, 4)

    for seen, dropped in ((3, [3, 2]), (2, [2])):
        reading = await read(session, server, f"last_event_id={block_id(seen)}")
        reorg, *blocks = await reading.take(4)
        assert (reorg[0], reorg[1]) == ("reorg", block_id(1))
        assert reorg[2]["ancestor"] == {"number": 1, "hash": hash_of(1)}
        assert reorg[2]["dropped"] == [{"number": number, "hash": hash_of(number)} for number in dropped]
        assert reserves(reorg).items() >= {POOLS[1]: 10}.items()
        assert [each[1] for each in blocks] == [block_id(2, "b"), block_id(3, "b"), block_id(4, "b")]
        reading.response.close()


@pytest.mark.parametrize("seen", [block_id(99), block_id(3, "f"), block_id(4), "garbage", "3", "-", f"{2**70}-0x12"])
async def test_a_reader_from_the_future_or_with_garbage_begins_anew(
    server: StreamServer, session: aiohttp.ClientSession, seen: str
) -> None:
    reading = await read(session, server, headers={"Last-Event-ID": seen})

    name, id_, _ = await reading.next()

    assert (name, id_) == ("snapshot", block_id(3))


async def test_a_live_reader_is_told_of_a_reorg(server: StreamServer, session: aiohttp.ClientSession) -> None:
    reading = await read(session, server)
    await reading.next()
    await server.topic.reorg(header(2), header(3), pools={POOLS[1]: 10})
    await server.topic.block(header(3, "b", "a"), {POOLS[1]: 31})

    reorg, block = await reading.take(2)

    assert (reorg[0], reorg[1], reserves(reorg)) == ("reorg", block_id(2), {POOLS[1]: 10})
    assert reorg[2]["dropped"] == [{"number": 3, "hash": hash_of(3)}]
    assert (block[0], block[1], reserves(block)) == ("block", block_id(3, "b"), {POOLS[1]: 31})


async def test_a_writer_that_ended_amid_a_block_is_followed_by_one_that_repeats_it(
    server: StreamServer, session: aiohttp.ClientSession
) -> None:
    reading = await read(session, server)
    await reading.next()
    index = 0
    mine = {pool: 55 for pool in POOLS[:4]}
    await server.topic.block(header(4), mine, only=1)
    for_partition = [each for each in mine if each]
    server.topic.epoch = 2
    await server.topic.block(header(3), {POOLS[0]: 20}, only=index)
    await server.topic.block(header(4), mine, only=index)
    server.topic.epoch = 1
    await server.topic.block(header(3), dict.fromkeys(for_partition, 1), only=index)
    server.topic.epoch = 2
    await server.topic.block(header(5), {}, only=index)
    await server.topic.block(header(5), {}, only=1)

    first, second = await reading.take(2)

    assert (first[1], reserves(first)) == (block_id(4), mine)
    assert (second[1], reserves(second)) == (block_id(5), {})


async def test_finalized_blocks_come_when_the_node_calls_them_so(
    server: StreamServer, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{server.url}/stream?finality=finalized") as response:
        assert response.status == 503
        assert "finalized" in (await response.json())["error"]
    await server.topic.block(header(4), {POOLS[0]: 40}, finalized=2)
    await reached(server, 4)
    reading = await read(session, server, "finality=finalized")
    snapshot = await reading.next()
    await server.topic.reorg(header(3), header(4), pools={POOLS[0]: 20})
    await server.topic.block(header(4, "b", "a"), {POOLS[0]: 41}, finalized=2)
    await server.topic.block(header(5, "b"), {}, finalized=4)
    blocks = await reading.take(3)

    assert (snapshot[1], reserves(snapshot)) == (block_id(2), FIRST | {POOLS[0]: 20})
    assert [(each[0], each[1]) for each in blocks] == [
        ("block", block_id(3)),
        ("block", block_id(3)),  # as the reorg left it
        ("block", block_id(4, "b")),
    ]
    assert reserves(blocks[2]) == {POOLS[0]: 41}


async def test_without_updates_there_is_no_stream(kafka: str, chain_name: str, session: aiohttp.ClientSession) -> None:
    async with (
        stream_server(kafka, chain_name, updates=False) as started,
        session.get(f"{started.url}/stream") as response,
    ):
        assert response.status == 503
        assert "ARENA_UPDATES" in (await response.json())["error"]


async def test_a_worker_that_stops_says_so(server: StreamServer, session: aiohttp.ClientSession) -> None:
    reading = await read(session, server)
    await reading.next()

    await server.service.close()
    name, _, event = await reading.next()

    assert (name, event["error"]) == ("closed", "this worker stops; connect again, or to another one")
    with pytest.raises(EOFError):
        await reading.next()


async def test_a_slow_reader_is_closed_and_the_others_are_not(
    server: StreamServer, session: aiohttp.ClientSession
) -> None:
    slow_reader, slow_writer = await raw_connection(server, "/stream")
    slow_writer.get_extra_info("socket")
    fast = await read(session, server)
    await fast.next()
    big = {POOLS[number]: 10**2000 for number in range(8)}
    last = 4
    while server.service.hub.readers() > 1:
        await server.topic.block(header(last), {pool: value + last for pool, value in big.items()})
        assert (await fast.next())[1] == block_id(last)
        last += 1
        assert last < 3000
    slow_writer.write(b"")
    rest = (await asyncio.wait_for(slow_reader.read(-1), 60)).decode()

    assert last > 256
    assert '"error":"256 events wait for this reader, which is too slow; connect again"' in rest.split("event: ")[-1]
    assert rest.split("event: ")[-1].startswith("closed\n")


async def raw_connection(
    server: StreamServer, path: str, limit: int = 2**10
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Reads nothing before it is asked to, but for a small buffer."""
    host, port = server.url.removeprefix("http://").split(":")
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
    opened.setblocking(False)
    await asyncio.get_running_loop().sock_connect(opened, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=opened, limit=limit)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def test_a_connection_that_takes_nothing_is_aborted(
    server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a host that is gone: nothing is acknowledged, and nothing says that it is closed."""
    monkeypatch.setattr("web.stream.connection.SEND_TIMEOUT_S", 1.0)
    _, writer = await raw_connection(server, "/stream")
    async with asyncio.timeout(20):
        while not server.service.hub.readers():
            await asyncio.sleep(0.05)
    big = {POOLS[number]: 10**4000 for number in range(8)}

    async with asyncio.timeout(60):
        for number in range(4, 250):
            await server.topic.block(header(number), {pool: value + number for pool, value in big.items()})
            if not server.service.hub.readers():
                break
            await asyncio.sleep(0.05)

    assert server.service.hub.readers() == 0
    assert not server.service.hub.groups()
    writer.close()


async def test_a_thousand_readers_get_every_block(server: StreamServer) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        readings = await asyncio.gather(*(read(session, server, "protocol=v2") for _ in range(1000)))
        firsts = await asyncio.gather(*(reading.next() for reading in readings))
        await server.topic.block(header(4), {POOLS[0]: 40})
        blocks = await asyncio.gather(*(reading.next() for reading in readings))

    assert {each[0] for each in firsts} == {"snapshot"}
    assert {each[1] for each in blocks} == {block_id(4)}
