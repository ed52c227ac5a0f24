import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager

import nats as nats_client
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from lab.devnet.servers.nats import Nats
from settings import Settings
from streams.nats.subscriber import RESEED_SUBJECT, Received, subscribe
from tests.support.waiting import until

pytestmark = pytest.mark.servers


@pytest.fixture
def own_nats() -> Iterator[str]:
    """Two streams of one server cannot hold the same subjects, and other tests have theirs on the one of the run."""
    with Nats() as server:
        yield server.address


@asynccontextmanager
async def subscribed(url: str, chain: str) -> AsyncIterator[list[Received]]:
    """What has arrived so far."""
    messages: list[Received] = []

    async def collect() -> None:
        async with aclosing(subscribe(Settings(nats=url, chain=chain))) as stream:
            async for message in stream:
                messages.append(message)

    task = asyncio.create_task(collect())
    try:
        yield messages
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def publisher(url: str, reseeded: Callable[[Client], Awaitable[None]] | None = None) -> AsyncIterator[Client]:
    client = await nats_client.connect(url)
    if reseeded is not None:

        async def answer(_: Msg) -> None:
            assert reseeded is not None
            await reseeded(client)

        await client.subscribe(RESEED_SUBJECT, cb=answer)
        await client.flush()
    yield client
    await client.close()


async def test_a_subscriber_asks_for_the_list_once_it_is_subscribed(nats: str, chain_name: str) -> None:
    subject = f"whitelist.pools.{chain_name}.minimal"

    async def publish(client: Client) -> None:
        await client.publish(subject, b"the list")

    async with publisher(nats, publish), subscribed(nats, chain_name) as messages:
        await until(lambda: len(messages) > 0)

    assert messages == [Received(subject, b"the list")]


async def test_without_jetstream_live_messages_arrive_in_order(nats: str, chain_name: str) -> None:
    started = asyncio.Event()

    async def start(_: Client) -> None:
        started.set()

    async with publisher(nats, start) as client, subscribed(nats, chain_name) as messages:
        await asyncio.wait_for(started.wait(), 60)
        for number in range(50):
            await client.publish(f"whitelist.pools.{chain_name}.full", b"%d" % number)
        await client.publish("whitelist.pools.other.full", b"of another chain")
        await client.publish(f"whitelist.pools.{chain_name}.full.part.1", b"part")
        await until(lambda: len(messages) == 51)

    assert [message.payload for message in messages] == [*(b"%d" % number for number in range(50)), b"part"]


async def test_a_late_subscriber_gets_the_last_message_of_each_subject_in_order(own_nats: str, chain_name: str) -> None:
    nats = own_nats
    subject, large = f"whitelist.pools.{chain_name}", b"x" * (1 << 20)
    async with publisher(nats) as client:
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name=chain_name, subjects=[f"{subject}.>"], max_msgs_per_subject=1))
        for kind, payload in [("minimal", b"old"), ("full", large), ("minimal", b"new"), ("add", b"more")]:
            await stream.publish(f"{subject}.{kind}", payload)

        async with subscribed(nats, chain_name) as messages:
            await until(lambda: len(messages) == 3)
            await stream.publish(f"{subject}.remove", b"less")
            await until(lambda: len(messages) == 4)

    expected = [("full", large), ("minimal", b"new"), ("add", b"more"), ("remove", b"less")]
    assert messages == [Received(f"{subject}.{kind}", payload) for kind, payload in expected]


async def test_it_reconnects_whenever_nats_comes_back(chain_name: str, caplog: pytest.LogCaptureFixture) -> None:
    subject = f"whitelist.pools.{chain_name}.full"
    server = Nats()
    server.start()
    url = server.address
    server.stop()
    caplog.set_level(logging.INFO)

    async def publish(client: Client) -> None:
        await client.publish(subject, b"again")

    async with subscribed(url, chain_name) as messages:
        await until(lambda: "trying again" in caplog.text)
        for times in (1, 2):
            server.start()
            async with publisher(url, publish):
                await until(lambda: len(messages) == times)  # noqa: B023  awaited in the loop
                server.kill()
                await until(lambda: caplog.text.count("the connection is lost; trying again") == times)  # noqa: B023  awaited in the loop
    server.stop()

    assert messages == [Received(subject, b"again")] * 2
    assert url.removeprefix("nats://") in caplog.text
