"""Large pools and large partitions are loaded and folded while other tasks go on running; RocksDB is a real one."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from protocols.ticks import Tick
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import V2State
from protocols.v3 import V3State
from streams.kafka.records import Head, Header, Listed, Record, Snapshot, encode_record
from streams.kafka.topics import topics
from tables.durable.chunks import Chunk, Folded
from tables.durable.database import Database, Stamp, Stamped
from tables.live import Live
from tables.processing.processor import PartitionProcessor

TOPICS = topics("test")
TOKEN = Token("0x" + "11" * 20)
DEEP = PoolMetadata(PoolId("0x" + "ab" * 20), "v3", TOKEN, TOKEN, 3000, 60)
LONGEST_TURN_S = 0.02


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


def head(number: int) -> Head:
    return Head(Header(number, block(number).hash, block(number - 1).hash, 0), 0)


def deep_snapshot(gross: int, number: int) -> Snapshot:
    """20,000 ticks."""
    ticks = (Tick((at - 10_000) * 60, gross, gross if at % 2 == 0 else -gross) for at in range(20_000))
    return Snapshot(DEEP.id, block(number), V3State(1 << 96, 0, gross, tuple(ticks)))


class Worker:
    """A processor with one partition and its database."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.offsets = dict.fromkeys(TOPICS, 0)
        self.processor = PartitionProcessor(TOPICS, 64)

    async def load(self) -> None:
        self.processor = PartitionProcessor(TOPICS, 64)
        await self.processor.recovered(0, self.database)

    def chunk(self, topic: str, records: Iterable[Record]) -> Chunk:
        raw: list[Any] = []
        for record in records:
            pool = getattr(record, "pool", None)
            key = None if pool is None else (pool if isinstance(pool, str) else pool.id).encode()
            offset = self.offsets[topic]
            raw.append(SimpleNamespace(topic=topic, partition=0, offset=offset, key=key, value=encode_record(record)))
            self.offsets[topic] += 1
        return Chunk(topic, 0, raw)

    async def fold(self, chunk: Chunk) -> None:
        self.write(await self.processor.fold(0, self.database, chunk))

    def write(self, folded: Folded) -> None:
        self.database.write([Stamped(key, value, Stamp(1, 0)) for key, value in folded.rows.items()], 0)

    @property
    def life(self) -> object:
        return self.processor.partitions[0].pools[DEEP.id].life


@asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """The processor time of each turn of the loop meanwhile, in seconds: other processes and threads do not count."""
    took: list[float] = []

    async def measure() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            took.append(time.thread_time() - before)

    task = asyncio.create_task(measure())
    await asyncio.sleep(0)
    yield took
    await asyncio.sleep(0)
    task.cancel()


def check(took: list[float], least_turns: int) -> None:
    """Nine of ten turns are short; the garbage collector may run in any."""
    assert len(took) >= least_turns
    assert sorted(took)[len(took) * 9 // 10 - 1] < LONGEST_TURN_S, sorted(took)[-5:]


async def deep_worker(path: Path) -> Worker:
    worker = Worker(path)
    await worker.load()
    await worker.fold(worker.chunk(TOPICS.whitelist, [Listed(DEEP, 1)]))
    await worker.fold(worker.chunk(TOPICS.chain, [head(1)]))
    return worker


async def test_a_pool_of_20_000_ticks_is_adopted_audited_and_found_different_while_the_loop_turns(
    tmp_path: Path,
) -> None:
    worker = await deep_worker(tmp_path / "rows")
    for gross in (5, 5, 6):
        chunk = worker.chunk(TOPICS.snapshots, [deep_snapshot(gross, 1)])

        async with turns() as took:
            folded = await worker.processor.fold(0, worker.database, chunk)

        check(took, 4)
        worker.write(folded)
        assert isinstance(worker.life, Live)
        assert len(worker.life.ticks) == 20_000


async def test_no_turn_is_long_while_20_000_ticks_become_rows_and_updates(tmp_path: Path) -> None:
    """The garbage collector may lengthen a turn of one snapshot, but not of both."""
    worker = await deep_worker(tmp_path / "rows")
    longest = []
    for gross in (5, 6):
        await worker.load()
        chunk = worker.chunk(TOPICS.snapshots, [deep_snapshot(gross, 1)])

        async with turns() as took:
            folded = await worker.processor.fold(0, worker.database, chunk)

        worker.write(folded)
        longest.append(max(took))
        assert sum(len(each.value or b"") for each in folded.appends) > 1_000_000

    assert min(longest) < LONGEST_TURN_S


async def test_a_snapshot_of_20_000_ticks_ahead_of_the_head_is_adopted_while_the_loop_turns(tmp_path: Path) -> None:
    worker = await deep_worker(tmp_path / "rows")
    await worker.fold(worker.chunk(TOPICS.snapshots, [deep_snapshot(5, 2)]))
    reached = worker.chunk(TOPICS.chain, [head(2)])

    async with turns() as took:
        await worker.processor.fold(0, worker.database, reached)

    check(took, 2)
    assert isinstance(worker.life, Live)


async def test_a_partition_of_10_000_pools_is_loaded_while_the_loop_turns(tmp_path: Path) -> None:
    pools = [PoolMetadata(PoolId(f"0x{number:040x}"), "v2", TOKEN, TOKEN) for number in range(1, 10_001)]
    worker = Worker(tmp_path / "rows")
    await worker.load()
    await worker.fold(worker.chunk(TOPICS.whitelist, [Listed(pool, 1) for pool in pools]))
    await worker.fold(worker.chunk(TOPICS.chain, [head(1)]))
    snapshots = [Snapshot(pool.id, block(1), V2State(1, 1)) for pool in pools]
    await worker.fold(worker.chunk(TOPICS.snapshots, snapshots))

    async with turns() as took:
        await worker.load()

    check(took, 20)
    loaded = worker.processor.partitions[0].pools
    assert sum(isinstance(pool.life, Live) for pool in loaded.values()) == 10_000
