"""How fast `arena replay` folds a made-up chain from real Kafka, beside reading and decoding the same topic alone."""

import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import uvloop
from aiokafka import TopicPartition

from lab.bench.made_chain import MadeChain, Shape
from lab.bench.worker_under_test import Bench
from lab.devnet.servers import start as servers
from protocols import folding
from protocols.types import Block
from replay.pool_line import state_digest
from replay.run import Replayed, Task, replay_topics
from settings import Settings
from streams.kafka.records import decode_chain
from streams.kafka.topic_reader import read_batches, reading_consumer
from streams.kafka.topics import topics
from tables.views.state import state_view, ticks_view

CHUNK_BLOCKS = 50


class Measured(NamedTuple):
    elapsed_s: float
    cpu_s: float


class WrongState(Exception):
    """A replayed pool is not as the made-up chain has it."""


@click.command()
@click.option("--blocks", default=2000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(blocks: int, rounds: int, seed: int) -> None:
    """Prints events per second and per second of processor time."""
    chain = MadeChain(Shape(), seed)
    with servers.kafka() as kafka, tempfile.TemporaryDirectory() as directory:
        settings = Settings(chain="replay-bench", kafka=kafka, partitions=chain.shape.partitions)
        asyncio.run(_fill(Bench(settings, chain, Path(directory)), blocks))
        events = blocks * chain.shape.events
        click.echo(f"{events:,} events in {blocks:,} blocks of {chain.shape}")
        for _ in range(rounds):
            decoded = _measured(lambda: _decode_all(settings))
            replayed, folded = _replayed(settings, chain)
            _check(replayed, chain)
            click.echo(
                f"replay {_rates(events, folded)}; reading and decoding alone {_rates(events, decoded)}: "
                f"{decoded.cpu_s / folded.cpu_s:.0%}"
            )


async def _fill(unopened: Bench, blocks: int) -> None:
    async with unopened as bench:
        await bench.fill()
        for start in range(0, blocks, CHUNK_BLOCKS):
            count = min(CHUNK_BLOCKS, blocks - start)
            await bench.publish_chain([record for _ in range(count) for record in bench.chain.block()])


def _replayed(settings: Settings, chain: MadeChain) -> tuple[Replayed, Measured]:
    task = Task(settings.chain, Block(chain.tip.number, chain.tip.hash), pools=None, history_from=None)
    with _timed() as measured:
        replayed = replay_topics(settings, task, lambda _: None)
    return replayed, measured()


def _check(replayed: Replayed, chain: MadeChain) -> None:
    """Raises WrongState."""
    digests = {line.id: line.digest for line in replayed.lines}
    for model in chain.pools:
        pool = model.metadata
        state = folding.from_snapshot(pool, model.state())
        fields, ticks = msgspec.to_builtins((state_view(pool, state.price, None), ticks_view(state.ticks)))
        if digests.get(pool.id) != state_digest(pool.id, pool.protocol, fields, ticks):
            raise WrongState(f"{pool.id} is not as it was made")


def _decode_all(settings: Settings) -> None:
    """One process per core over the partitions, as a replay has them."""
    with ProcessPoolExecutor(min(os.cpu_count() or 1, settings.partitions), get_context("spawn")) as executor:
        list(executor.map(partial(_decode_partition, settings), range(settings.partitions)))


def _decode_partition(settings: Settings, number: int) -> None:
    uvloop.run(_decode(settings, TopicPartition(topics(settings.chain).chain, number)))


async def _decode(settings: Settings, tp: TopicPartition) -> None:
    async with reading_consumer(settings) as consumer:
        begins, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        async for records in read_batches(consumer, tp, begins[tp], ends[tp]):
            for record in records:
                decode_chain(record.value or b"")


@contextmanager
def _timed() -> Iterator[Callable[[], Measured]]:
    """Processor time of the processes started inside, once they have ended."""
    began_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)

    def measured() -> Measured:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Measured(time.perf_counter() - began_s, cpu_s)

    yield measured


def _measured(run: Callable[[], None]) -> Measured:
    with _timed() as measured:
        run()
    return measured()


def _rates(events: int, measured: Measured) -> str:
    return f"{events / measured.elapsed_s:,.0f} events/s, {events / measured.cpu_s:,.0f} per second of processor"


if __name__ == "__main__":
    main()
