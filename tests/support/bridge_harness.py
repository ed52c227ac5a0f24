"""The bridge between a real chain and a real broker, with a feed that says what a test wants it to say."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from protocols import v2, v3
from protocols.decoding import decode_listed
from protocols.events import Event, Initialize, LiquidityChange, Swap, Sync
from protocols.types import PoolId, PoolMetadata, ProtocolName, Token
from settings import Settings
from streams.bridge import process as bridge
from streams.exex.control import (
    BeginBlock,
    EndBlock,
    Message,
    PoolUpdate,
    ReorgComplete,
    ReorgRange,
    ReorgStart,
    Skipped,
    UpdateType,
    encode,
)
from streams.kafka.clients import fetch_limits, producer
from streams.kafka.records import Gap, Head, Listed, Reorg, Undecodable, Update, decode_chain, encode_record
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import topics
from streams.node.blocks import NodeHeader
from streams.node.client import Node, connect

SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
"""Anvil's first account."""
EMITTER = (
    "60a036038060a060003760003580600114602d578060031460375750"
    "608035606035604035602035846000a400"
    "5b50602035816000a100"
    "5b50606035604035602035836000a300"
)
"""Emits what it is told: calldata = number of topics (1, 3 or 4), four topics, data."""

V2_POOLS = [PoolId(f"0x{0xA000 + number:040x}") for number in range(4)]
V3_POOLS = [PoolId(f"0x{0xB000 + number:040x}") for number in range(2)]
POOLS = [*V2_POOLS, *V3_POOLS]
TOKENS = [Token(f"0x{number:040x}", 18) for number in (0xC1, 0xC2)]
METADATA = [
    *(PoolMetadata(pool, "v2", TOKENS[0], TOKENS[1]) for pool in V2_POOLS),
    *(PoolMetadata(pool, "v3", TOKENS[0], TOKENS[1], fee=3000, tick_spacing=60) for pool in V3_POOLS),
]

Updates = dict[PoolId, tuple[Event, ...]]


def emission(event: Event) -> bytes:
    """Calldata that makes an emitter's log of the event."""
    match event:
        case Sync(reserve0, reserve1):
            return _calldata([_topic0(v2, "Sync")], [reserve0, reserve1])
        case Swap(price, liquidity, tick):
            return _calldata([_topic0(v3, "Swap"), 1, 2], [1, 1, price, liquidity, tick])
        case LiquidityChange(lower, upper, delta) if delta > 0:
            return _calldata([_topic0(v3, "Mint"), 1, lower, upper], [1, delta, 0, 0])
        case LiquidityChange(lower, upper, delta):
            return _calldata([_topic0(v3, "Burn"), 1, lower, upper], [-delta, 0, 0])
    raise ValueError(event)


def _topic0(protocol: Any, name: str) -> int:
    return int.from_bytes(next(declared.topic0 for declared in protocol.EVENTS if declared.name == name), "big")


def _calldata(log_topics: list[int], data: list[int]) -> bytes:
    padded = [*log_topics, *[0] * (4 - len(log_topics))]
    return b"".join((value % 2**256).to_bytes(32, "big") for value in (len(log_topics), *padded, *data))


class Chain:
    """Anvil with pools that emit what the test says."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._numbers = count(1)

    async def mine(self, *events: tuple[PoolId, Event], like: NodeHeader | None = None) -> NodeHeader:
        """`like`: at the same time and with the same base fee."""
        for pool, event in events:
            data = "0x" + emission(event).hex()
            await self.node.call(
                "eth_sendTransaction", [{"from": SENDER, "to": pool, "data": data, "gas": hex(200_000)}]
            )
        if like is not None:
            await self.node.call("evm_setNextBlockTimestamp", [like.timestamp])
            await self.node.call("anvil_setNextBlockBaseFeePerGas", [hex(like.base_fee or 0)])
        await self.node.call("evm_mine", [])
        return await self.head()

    async def busy(self, blocks: int) -> list[NodeHeader]:
        """Blocks with events that no two blocks share."""
        return [await self.mine(*self.some()) for _ in range(blocks)]

    def some(self) -> list[tuple[PoolId, Event]]:
        number = next(self._numbers)
        return [
            (POOLS[number % 4], Sync(number, 2)),
            (POOLS[(number + 1) % 4], Sync(number, 3)),
            (V3_POOLS[number % 2], Swap(2**96 + number, number, number)),
            (V3_POOLS[number % 2], LiquidityChange(-60, 60, number)),
            (POOLS[number % 4], Sync(number, 4)),
        ]

    async def head(self) -> NodeHeader:
        return await self.header("latest")

    async def header(self, at: int | str) -> NodeHeader:
        header = await self.node.header(at)
        assert header is not None
        return header

    async def snapshot(self) -> str:
        return str(await self.node.call("evm_snapshot", []))

    async def revert(self, snapshot: str) -> None:
        assert await self.node.call("evm_revert", [snapshot])

    async def updates(self, header: NodeHeader, pools: Sequence[PoolId] = POOLS) -> Updates:
        grouped: dict[PoolId, list[Event]] = {}
        logs = await self.node.logs(header.hash)
        for _, decoded in decode_listed(logs, dict.fromkeys(pools), {}):
            grouped.setdefault(decoded.pool, []).append(decoded.event)
        return {pool: tuple(events) for pool, events in grouped.items()}

    async def truth(self, first: int, pools: Sequence[PoolId] = POOLS) -> "list[tuple[str, Updates]]":
        headers = [await self.header(number) for number in range(first, (await self.head()).number + 1)]
        return [(header.hash, await self.updates(header, pools)) for header in headers]


@asynccontextmanager
async def emitting(rpc: str) -> AsyncIterator[Chain]:
    async with connect(rpc) as node:
        for pool in POOLS:
            await node.call("anvil_setCode", [pool, "0x" + EMITTER])
        await node.call("evm_setAutomine", [False])
        await node.call("evm_mine", [])
        yield Chain(node)


class Feed:
    """Listens on the socket and says what it is told to, to whoever is connected."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._seq = 0

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._joined, self._socket)

    async def stop(self) -> None:
        """The process is gone, and its numbering with it."""
        self.hang_up()
        if self._server is not None:
            self._server.close()
            self._socket.unlink(missing_ok=True)
        self._seq = 0

    def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)

    async def listened(self) -> None:
        while not self._writers:
            await asyncio.sleep(0.02)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers = []

    async def say(self, *messages: Message, lost: int = 0) -> None:
        await self.listened()
        for message in messages:
            self._seq += 1
            assert not isinstance(message, Skipped)
            await self.write(encode(msgspec.structs.replace(message, stream_seq=self._seq)))

    def lose(self, messages: int) -> None:
        """Messages that were sent to nobody."""
        self._seq += messages

    async def write(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)
            with suppress(ConnectionError):
                await writer.drain()

    async def tell(self, header: NodeHeader, updates: Updates) -> None:
        await self.say(*told(header, updates))


def told(header: NodeHeader, updates: Updates, reverted: bool = False) -> list[Message]:
    base_fee = header.base_fee or 0
    events = [(pool, event) for pool, of_pool in updates.items() for event in of_pool]
    return [
        BeginBlock(0, header.number, header.timestamp, base_fee, reverted),
        *(_update(header, place, *event, reverted) for place, event in enumerate(events)),
        EndBlock(0, header.number, len(events)),
    ]


def _update(header: NodeHeader, place: int, pool: PoolId, event: Event, reverted: bool) -> PoolUpdate:
    kind: UpdateType = "mint" if isinstance(event, LiquidityChange) else "swap"
    protocol: ProtocolName = "v2" if isinstance(event, Sync) else "v3"
    assert not isinstance(event, Initialize)
    return PoolUpdate(0, pool, protocol, kind, header.number, header.timestamp, place, 0, reverted, event)


def told_reorg(old: list[tuple[NodeHeader, Updates]], new: list[tuple[NodeHeader, Updates]]) -> list[Message]:
    tip = new[-1][0].number if new else old[0][0].number - 1
    return [
        ReorgStart(0, _range(old), _range(new)),
        *(message for block in reversed(old) for message in told(*block, reverted=True)),
        *(message for block in new for message in told(*block)),
        ReorgComplete(0, tip),
    ]


def _range(blocks: list[tuple[NodeHeader, Updates]]) -> ReorgRange:
    return ReorgRange(blocks[0][0].number, blocks[-1][0].number, len(blocks)) if blocks else ReorgRange(None, None, 0)


class Replay:
    """A naive reader of one partition; it insists on all that a worker relies on."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Head, Updates]] = []
        self.pending: Updates = {}
        self.gaps: list[Gap] = []
        self.reorgs: list[Reorg] = []
        self.skip_unreadable = False
        self.term = 0
        self.overruled = 0
        """Records of a bridge that had been replaced."""

    def read(self, value: bytes) -> None:
        try:
            self.take(decode_chain(value))
        except Undecodable:
            if not self.skip_unreadable:
                raise

    def take(self, record: Update | Head | Reorg | Gap) -> None:
        if record.term is not None and record.term < self.term:
            self.overruled += 1
            return
        if record.term is not None and record.term > self.term:
            self.term, self.pending = record.term, {}
        match record:
            case Update(pool, _, events):
                assert pool not in self.pending
                self.pending[pool] = events
            case Head(block, updates):
                assert updates == len(self.pending)
                assert not self.blocks or block.parent == self.blocks[-1][0].block.hash
                self.blocks.append((record, self.pending))
                self.pending = {}
            case Reorg(ancestor):
                self.reorgs.append(record)
                self.pending = {}
                kept = [block for block in self.blocks if block[0].block.number <= ancestor.number]
                assert not self.blocks or kept[-1][0].block.hash == ancestor.hash
                self.blocks = kept
            case Gap():
                self.gaps.append(msgspec.structs.replace(record, term=None))
                self.blocks, self.pending = [], {}


class Topic:
    """All partitions of `chain`, replayed as they grow."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: int) -> None:
        self._consumer = consumer
        self.partitions = [Replay() for _ in range(partitions)]
        self.writer: asyncio.Task[None] | None = None

    async def read(self) -> None:
        if self.writer is not None and self.writer.done():
            self.writer.result()
        for tp, records in (await self._consumer.getmany(timeout_ms=100)).items():
            for record in records:
                self.partitions[tp.partition].read(record.value)

    async def until(self, head: NodeHeader, timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not all(part.blocks and part.blocks[-1][0].block.hash == head.hash for part in self.partitions):
                await self.read()

    async def until_gap(self, timeout_s: float = 60) -> Gap:
        async with asyncio.timeout(timeout_s):
            while not all(part.gaps for part in self.partitions):
                await self.read()
        return self.partitions[0].gaps[-1]

    @property
    def reorgs(self) -> list[int]:
        return [reorg.ancestor.number for reorg in self.partitions[0].reorgs]

    @property
    def gaps(self) -> list[Gap]:
        return self.partitions[0].gaps

    @property
    def blocks(self) -> list[tuple[str, Updates]]:
        """What all partitions say together."""
        chains = [[head.block for head, _ in part.blocks] for part in self.partitions]
        assert all(each == chains[0] for each in chains)
        merged: list[tuple[str, Updates]] = [(block.hash, {}) for block in chains[0]]
        for part in self.partitions:
            for (_, together), (_, updates) in zip(merged, part.blocks, strict=True):
                assert not together.keys() & updates.keys()
                together.update(updates)
        return merged


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Topic]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest", **fetch_limits())
    async with consumer:
        consumer.assign([TopicPartition(topics(settings.chain).chain, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        yield Topic(consumer, settings.partitions)


async def list_pools(settings: Settings, pools: Sequence[PoolMetadata] = METADATA) -> None:
    """As a bridge before this one would have said."""
    await ensure_topics(settings)
    async with producer(settings) as sender:
        for pool in pools:
            record = encode_record(Listed(pool, 0))
            await sender.send_and_wait(topics(settings.chain).whitelist, record, key=pool.id.encode())


@asynccontextmanager
async def bridging(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
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
    values = settings.model_dump(mode="json", exclude_defaults=True)
    environment = {**os.environ, **{f"ARENA_{name.upper()}": str(value) for name, value in values.items()}}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "commands", "bridge", env=environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Stage:
    """Chain, feed, bridge and topic of one test."""

    def __init__(
        self, chain_: Chain, feed: Feed, topic: Topic, settings: Settings, bridge_: asyncio.Task[None]
    ) -> None:
        self.chain, self.feed, self.topic, self.settings, self.bridge = chain_, feed, topic, settings, bridge_
        topic.writer = bridge_

    async def live(self, blocks: int = 1) -> list[NodeHeader]:
        """Blocks that the feed tells as they are."""
        headers = []
        for _ in range(blocks):
            headers.append(await self.chain.mine(*self.chain.some()))
            await self.feed.tell(headers[-1], await self.chain.updates(headers[-1]))
        await self.topic.until(headers[-1])
        return headers

    async def right(self, first: int) -> None:
        assert self.topic.blocks == await self.chain.truth(first)


@asynccontextmanager
async def stage(settings: Settings, rpc: str, listed_before: Sequence[PoolMetadata] = METADATA) -> AsyncIterator[Stage]:
    await list_pools(settings, listed_before)
    feed = Feed(settings.exex_socket)
    await feed.start()
    async with emitting(rpc) as chain_, reading(settings) as topic, bridging(settings) as task:
        yield Stage(chain_, feed, topic, settings, task)
    await feed.stop()


class Door:
    """Between the bridge and the node; shut, the node is away."""

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

    def shut(self) -> None:
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
