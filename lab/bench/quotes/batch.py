"""How long 1,000 quotes in one POST take: a worker's HTTP interface on made-up pools, asked over loopback."""

import asyncio
import time
from collections.abc import Mapping

import aiohttp
from aiohttp import web

from protocols.ticks import Tick, sqrt_ratio_at_tick
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v3 import V3State
from streams.kafka.records import Head, Header, Listed, Snapshot
from streams.kafka.topics import topics
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.partition import Changes, Partition
from tables.processing.processor import PartitionProcessor
from tables.views.envelope import ServedChain
from web.answers import encode
from web.errors import errors_as_json
from web.routes import HttpApi

POOLS, TICKS, QUOTES = 100, 200, 1_000
TOKENS = Token("0x" + "01" * 20, 18), Token("0x" + "02" * 20, 6)


class SoleOwner:
    """Implements web.owners.ownership.Owners for one worker that owns the only partition."""

    url = ""

    def urls(self) -> Mapping[int, str]:
        return {0: self.url}

    def own_url(self) -> str:
        return self.url

    def ready(self, partition: int) -> bool:
        return partition == 0

    def owned(self) -> set[int]:
        return {0}

    def stalled(self) -> str | None:
        return None


def batch_ms() -> float:
    """From the request to the whole answer, in milliseconds."""
    return asyncio.run(_batch_ms())


async def _batch_ms() -> float:
    processor = PartitionProcessor(topics("bench"), 64)
    processor.partitions = {0: _partition()}
    application = web.Application(middlewares=[errors_as_json])
    api = HttpApi(processor, SoleOwner(), ServedChain("bench", 1), 1)
    application.add_routes(api.routes())
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/quote".format(*runner.addresses[0][:2])
    orders = [
        {"pool": _pool_id(number % POOLS), "token_in": TOKENS[number % 2].address, "amount_in": str(10**15 + number)}
        for number in range(QUOTES)
    ]
    body = encode({"quotes": orders})
    try:
        async with aiohttp.ClientSession() as session:
            await _post(session, url, body)
            began = time.perf_counter()
            await _post(session, url, body)
            return (time.perf_counter() - began) * 1e3
    finally:
        await api.close()
        await runner.cleanup()


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    async with session.post(url, data=body) as answer:
        if answer.status != 200 or (await answer.read()).count(b'"price_impact"') != QUOTES:
            raise ValueError(f"not every one of {QUOTES} quotes was answered")


def _pool_id(number: int) -> PoolId:
    return PoolId(f"0x{number + 1:040x}")


def _partition() -> Partition:
    changes = Changes(Partition(64))
    block = Block(1, "0x" + "01" * 32)
    liquidity = 10**18
    lower = [Tick(-10 * number, liquidity, liquidity) for number in range(TICKS // 2, 0, -1)]
    upper = [Tick(10 * number, liquidity, -liquidity) for number in range(1, TICKS // 2 + 1)]
    state = V3State(sqrt_ratio_at_tick(0), 0, TICKS // 2 * liquidity, (*lower, *upper))
    for number in range(POOLS):
        metadata = PoolMetadata(_pool_id(number), "v3", *TOKENS, 500, 10)
        fold_listing(changes, metadata.id, Listed(metadata, 1), 0)
    fold_chain(changes, Head(Header(1, block.hash, "0x" + "00" * 32, 1_000), 0), 0)
    for number in range(POOLS):
        fold_snapshot(changes, Snapshot(_pool_id(number), block, state), 0)
    return changes.partition
