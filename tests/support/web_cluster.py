"""Two workers' HTTP servers that share the partitions; their tables are filled by hand, the servers are real."""

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from protocols.ticks import LiquidityChange, Tick, sqrt_ratio_at_tick
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import Sync, V2State
from protocols.v4 import V4State
from streams.kafka.records import Head, Header, Listed, Snapshot, Update
from streams.kafka.topics import partition_of, topics
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.partition import Changes, Partition
from tables.processing.processor import PartitionProcessor
from tables.views.envelope import ServedChain
from web.errors import errors_as_json
from web.routes import HttpApi, HttpOptions
from web.server import Runner
from web.token import require_token

PARTITIONS = 4
CHAIN_ID = 31337
NATIVE, USDC = Token("0x" + "00" * 20, 18), Token("0x" + "a0" * 20, 6, "USDC")
POOLS = [PoolId(f"0x{number:040x}") for number in range(20)]
V4 = PoolId("0x" + "4f" * 32)
NEVER_READ = POOLS[7]


class Owners:
    def __init__(self, mine: set[int]) -> None:
        self.mine = mine
        self.everyone: dict[int, str] = {}
        self.url = ""
        self.recovered = True
        self.trouble: str | None = None

    def urls(self) -> Mapping[int, str]:
        return self.everyone

    def own_url(self) -> str:
        return self.url

    def ready(self, partition: int) -> bool:
        return self.recovered and partition in self.mine

    def owned(self) -> set[int]:
        return self.mine

    def stalled(self) -> str | None:
        return self.trouble


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


def head(number: int, updates: int, timestamp: int) -> Head:
    return Head(Header(number, block(number).hash, block(number - 1).hash, timestamp), updates)


def filled(index: int) -> Partition:
    """Blocks 1 to 3; every pool is read at block 1; in block 2 each V2 pool has a Sync, in 3 the V4 one a mint."""
    changes = Changes(Partition(64))
    mine = [pool for pool in [*POOLS, V4] if partition_of(pool.encode(), PARTITIONS) == index]
    for pool in mine:
        metadata = (
            PoolMetadata(pool, "v4", NATIVE, USDC, 500, 10) if pool == V4 else PoolMetadata(pool, "v2", NATIVE, USDC)
        )
        fold_listing(changes, pool, Listed(metadata, 1), 0)
    fold_chain(changes, head(1, 0, 1_000), 0)
    for pool in mine:
        if pool == V4:
            ticks = (Tick(-10, 5, 5), Tick(10, 5, -5))
            state = V4State(sqrt_ratio_at_tick(0), 0, 5, ticks, lp_fee=500, protocol_fee=0)
            fold_snapshot(changes, Snapshot(pool, block(1), state), 0)
        elif pool != NEVER_READ:
            fold_snapshot(changes, Snapshot(pool, block(1), V2State(1, 2**100)), 0)
    syncs = [pool for pool in mine if pool != V4]
    for pool in syncs:
        fold_chain(changes, Update(pool, block(2), (Sync(3, 2**101),)), 1)
    fold_chain(changes, head(2, len(syncs), 2_000), 1)
    if V4 in mine:
        fold_chain(changes, Update(V4, block(3), (LiquidityChange(-20, 20, 7),)), 2)
    fold_chain(changes, head(3, int(V4 in mine), 3_000), 2)
    return changes.partition


class Cluster:
    def __init__(
        self, token: str | None = None, waiting_share: float = 0.0, fill: Callable[[int], Partition] = filled
    ) -> None:
        """`fill` makes each partition by its index."""
        self.token = token
        self.waiting_share = waiting_share
        self._fill = fill
        self.owners = [Owners({0, 1}), Owners({2, 3})]
        self.processors = [PartitionProcessor(topics("test"), 64), PartitionProcessor(topics("test"), 64)]
        self.runners: list[Runner] = []
        self.apis: list[HttpApi] = []

    async def start(self) -> None:
        options = HttpOptions(self.token, self.waiting_share)
        for owners, processor in zip(self.owners, self.processors, strict=True):
            processor.partitions = {index: self._fill(index) for index in owners.mine}
            application = web.Application(middlewares=[errors_as_json, require_token(self.token)])
            self.apis.append(HttpApi(processor, owners, ServedChain("test", CHAIN_ID), PARTITIONS, options))
            application.add_routes(self.apis[-1].routes())
            runner = Runner(application)
            await runner.setup()
            host = f"127.0.0.{len(self.runners) + 1}"
            await web.TCPSite(runner, host, 0).start()
            owners.url = "http://{}:{}".format(*runner.addresses[0][:2])
            self.runners.append(runner)
        for owners in self.owners:
            owners.everyone = {index: each.url for each in self.owners for index in each.mine}

    async def stop(self) -> None:
        for runner in self.runners:
            await runner.cleanup()

    def address(self, worker: int = 0) -> tuple[str, int]:
        host, port = self.runners[worker].addresses[0][:2]
        return host, port

    async def post(self, path: str, body: object, worker: int = 0) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.owners[worker].url + path, data=msgspec.json.encode(body)) as response,
        ):
            return response.status, msgspec.json.decode(await response.read())

    async def get(self, path: str, worker: int = 0) -> tuple[int, dict[str, object]]:
        async with aiohttp.ClientSession() as session, session.get(self.owners[worker].url + path) as response:
            body = await response.read()
            return response.status, msgspec.json.decode(body)
