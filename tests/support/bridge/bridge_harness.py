"""The bridge between a real chain, a real broker and a scripted feed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from pydantic import SecretStr

from protocols.types import PoolMetadata
from settings import Settings
from streams.bridge import process as bridge
from streams.kafka.clients import producer
from streams.kafka.records import Listed, encode_record
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import topics
from streams.node.blocks import NodeHeader
from tests.support.bridge.chain_topic import ChainTopic, chain_topic
from tests.support.bridge.emitting_chain import METADATA, EmittingChain, emitting_chain
from tests.support.bridge.scripted_feed import ScriptedFeed


async def list_pools(settings: Settings, pools: Sequence[PoolMetadata] = METADATA) -> None:
    """As an earlier bridge would have published them."""
    await ensure_topics(settings)
    async with producer(settings) as sender:
        for pool in pools:
            record = encode_record(Listed(pool, 0))
            await sender.send_and_wait(topics(settings.chain).whitelist, record, key=pool.id.encode())


@asynccontextmanager
async def running_bridge(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(bridge.run(settings))
    try:
        yield task
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)


@asynccontextmanager
async def bridge_process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """Ends by SIGKILL."""
    values = {
        f"ARENA_{name.upper()}": str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for name, value in settings.model_dump(exclude_defaults=True).items()
    }
    environment = {**os.environ, **values}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "commands", "bridge", env=environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class BridgeSystem:
    """Chain, feed, bridge and topic of one test."""

    def __init__(
        self,
        chain_: EmittingChain,
        feed: ScriptedFeed,
        topic: ChainTopic,
        settings: Settings,
        bridge_: asyncio.Task[None],
    ) -> None:
        self.chain, self.feed, self.topic, self.settings, self.bridge = chain_, feed, topic, settings, bridge_
        topic.writer = bridge_

    async def feed_blocks(self, blocks: int = 1) -> list[NodeHeader]:
        """Mines blocks, and the feed sends them as they are."""
        headers = []
        for _ in range(blocks):
            headers.append(await self.chain.mine(*self.chain.busy_events()))
            await self.feed.send_block(headers[-1], await self.chain.updates(headers[-1]))
        await self.topic.until_head(headers[-1])
        return headers

    async def assert_topic_is_chain(self, first: int) -> None:
        assert self.topic.blocks == await self.chain.blocks_from(first)


@asynccontextmanager
async def bridge_system(
    settings: Settings, rpc: str, listed_before: Sequence[PoolMetadata] = METADATA
) -> AsyncIterator[BridgeSystem]:
    await list_pools(settings, listed_before)
    feed = ScriptedFeed(settings.exex_socket)
    await feed.start()
    async with emitting_chain(rpc) as chain_, chain_topic(settings) as topic, running_bridge(settings) as task:
        yield BridgeSystem(chain_, feed, topic, settings, task)
    await feed.stop()


class NodeLink:
    """The connection between the bridge and the node; closed, the node is away."""

    def __init__(self, rpc: str) -> None:
        self._host, port = rpc.removeprefix("http://").split(":")
        self._node_port = int(port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def rpc(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._entered, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _entered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node_reader, node_writer = await asyncio.open_connection(self._host, self._node_port)
        self._writers |= {writer, node_writer}
        await asyncio.gather(_pass_on(reader, node_writer), _pass_on(node_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
