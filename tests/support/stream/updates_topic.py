"""Topic `updates` written by a test as workers write it, and the stream that is served from it, on a real Kafka."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web
from aiokafka import AIOKafkaProducer

from protocols.types import Block, PoolId, Token
from settings import Settings
from streams.kafka.clients import producing
from streams.kafka.records import Header
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import partition_of, topics
from streams.updates import (
    BlockClosed,
    PoolChanged,
    PoolRemoved,
    ReorgClosed,
    UpdatesRecord,
    encode_updates_record,
)
from tables.views.envelope import ServedChain
from tables.views.pool import PoolView, PriceView, ReasonView
from tables.views.state import state_layout
from web.errors import errors_as_json
from web.stream.handler import StreamHandler
from web.stream.partitions import PartitionPools, PartitionTicks
from web.stream.service import StreamService

PARTITIONS = 2
WETH, USDC, DAI = (f"0x{digit * 40}" for digit in "abc")
POOLS = [PoolId(f"0x{number:040x}") for number in range(1, 9)]
encode = msgspec.json.encode


def header(number: int, fork: str = "a", parent_fork: str | None = None) -> Header:
    return Header(number, hash_of(number, fork), hash_of(number - 1, parent_fork or fork), 1_700_000_000 + number)


def hash_of(number: int, fork: str = "a") -> str:
    return f"0x{fork * 4}{number:060x}"


def view(pool: PoolId, reserve: int | None, token1: str = USDC) -> bytes:
    """Of a V2 pool, waiting where there is no reserve."""
    state = None if reserve is None else state_layout("v2").view(str(reserve), "1")
    reason = ReasonView("listed", "") if reserve is None else None
    made = {name: None for name in PoolView.__struct_fields__} | {
        "id": pool,
        "protocol": "v2",
        "status": "waiting" if reserve is None else "live",
        "reason": reason,
        "token0": Token(WETH, 18),
        "token1": Token(token1, 6),
        "price": PriceView(),
        "state": state,
    }
    return encode(made)


class UpdatesTopic:
    """Every partition is written at once, unless a test says otherwise."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings = settings
        self.epoch = 1
        self._producer = producer
        self._topic = topics(settings.chain).updates

    async def block(
        self,
        head: Header,
        pools: Mapping[PoolId, int | None] | None = None,
        *,
        removed: tuple[PoolId, ...] = (),
        only: int | None = None,
        finalized: int | None = None,
        token1: str = USDC,
    ) -> None:
        for partition in range(PARTITIONS) if only is None else (only,):
            block = Block(head.number, head.hash)
            records: list[UpdatesRecord] = [
                PoolChanged(block, self.epoch, msgspec.Raw(view(pool, reserve, token1)), msgspec.Raw(b"[]"))
                for pool, reserve in (pools or {}).items()
                if partition_of(pool.encode(), PARTITIONS) == partition
            ]
            gone = [pool for pool in removed if partition_of(pool.encode(), PARTITIONS) == partition]
            records += [PoolRemoved(block, self.epoch, pool) for pool in gone]
            await self.write(partition, *records, BlockClosed(head, len(records), self.epoch, None, finalized, 1))

    async def reorg(self, ancestor: Header, *dropped: Header, pools: Mapping[PoolId, int] | None = None) -> None:
        for partition in range(PARTITIONS):
            block = Block(ancestor.number, ancestor.hash)
            records: list[UpdatesRecord] = [
                PoolChanged(block, self.epoch, msgspec.Raw(view(pool, reserve)), msgspec.Raw(b"[]"))
                for pool, reserve in (pools or {}).items()
                if partition_of(pool.encode(), PARTITIONS) == partition
            ]
            gone = tuple(Block(each.number, each.hash) for each in dropped)
            await self.write(partition, *records, ReorgClosed(ancestor, gone, len(records), self.epoch))

    async def write(self, partition: int, *records: UpdatesRecord) -> None:
        for record in records:
            await self._producer.send(self._topic, value=encode_updates_record(record), partition=partition)
        await self._producer.flush()


class EmptyPartitions:
    """Of owners that have no pool yet: everything that the stream knows comes from the topic."""

    async def pools(self, index: int, since: int | None = None) -> PartitionPools:
        return PartitionPools(None, [])

    async def ticks(self, index: int, block_hash: str, pools: list[PoolId]) -> PartitionTicks:
        return PartitionTicks({pool: msgspec.Raw(b"[]") for pool in pools})


class StreamServer:
    def __init__(self, url: str, topic: UpdatesTopic, service: StreamService) -> None:
        self.url = url
        self.topic = topic
        self.service = service


@asynccontextmanager
async def stream_server(kafka: str, chain: str, *, updates: bool = True) -> AsyncIterator[StreamServer]:
    """One worker's /stream; the topic has a first block, in which pools 0 to 3 are live."""
    settings = Settings(chain=chain, kafka=kafka, partitions=PARTITIONS, updates=updates)
    await ensure_topics(settings.model_copy(update={"updates": True}))
    service = StreamService(settings, EmptyPartitions(), ServedChain(chain))
    application = web.Application(middlewares=[errors_as_json])
    routes = StreamHandler(service).routes()
    application.add_routes([web.get(route.path, route.handler) for route in routes])
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    host, port = runner.addresses[0][:2]
    try:
        async with producing(settings) as producer:
            yield StreamServer(f"http://{host}:{port}", UpdatesTopic(settings, producer), service)
    finally:
        await service.close()
        await runner.cleanup()
