"""Replays all partitions, in one process per core."""

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import SynchronizedArray
from typing import NamedTuple

import msgspec
import uvloop
from aiokafka import TopicPartition

from protocols.types import Block, PoolId
from replay.history import History, HistoryRows
from replay.pool_line import PoolLine, pool_line, whole_digest
from replay.reading import Progress, replay_partition
from settings import Settings
from streams.kafka.topic_reader import reading_consumer
from streams.kafka.topics import topics

LOOK_S = 0.2
COLLECT_AFTER = 200_000
"""Objects made until Python looks for cycles. The pools are many small objects without any, looked through in vain: a
third of the time at Python's own 700."""
_read: "SynchronizedArray[int]"


class Task(msgspec.Struct, frozen=True):
    topics: str
    """The prefix of the topics' names: the chain, or `{chain}-backfill-{name}`."""
    block: Block
    pools: frozenset[PoolId] | None
    """None: all."""
    history_from: int | None
    """The first block whose changes are kept; None: only the state at the end."""


class PartitionResult(NamedTuple):
    lines: list[PoolLine]
    history: HistoryRows | None
    undecodable: int


class Replayed(NamedTuple):
    block: Block
    lines: list[PoolLine]
    """Ascending by id."""
    history: list[HistoryRows]
    undecodable: int
    digest: str


def replay_topics(settings: Settings, task: Task, on_progress: Callable[[int], None]) -> Replayed:
    """`on_progress` is given the number of records read so far, again and again."""
    context = multiprocessing.get_context("spawn")
    read = context.Array("Q", settings.partitions)
    processes = min(os.cpu_count() or 1, settings.partitions)
    with ProcessPoolExecutor(processes, context, initializer=_share, initargs=(read,)) as executor:
        running = [executor.submit(_partition, settings, task, number) for number in range(settings.partitions)]
        try:
            for _ in _until_done(running):
                on_progress(sum(read[:]))
            results = [each.result() for each in running]
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    lines = sorted((line for result in results for line in result.lines), key=lambda line: line.id)
    histories = [result.history for result in results if result.history is not None]
    undecodable = sum(result.undecodable for result in results)
    return Replayed(task.block, lines, histories, undecodable, whole_digest(lines))


def _until_done(running: Collection["Future[PartitionResult]"]) -> Iterator[None]:
    """Ends early at the first failure, which `result` raises."""
    while True:
        done = wait(running, LOOK_S).done
        yield
        if len(done) == len(running) or any(each.exception() for each in done):
            return


def _share(read: "SynchronizedArray[int]") -> None:
    gc.set_threshold(COLLECT_AFTER)
    global _read  # noqa: PLW0603  # the only way to hand shared memory to a pool's process
    _read = read


def _partition(settings: Settings, task: Task, number: int) -> PartitionResult:
    return uvloop.run(_replay(settings, task, number))


async def _replay(settings: Settings, task: Task, number: int) -> PartitionResult:
    history = History(task.history_from, task.pools) if task.history_from is not None else None

    def count(records: int) -> None:
        _read[number] += records

    done = await replay_partition(settings, topics(task.topics), number, task.block, Progress(count, history))
    pools = done.partition.pools
    lines = [
        pool_line(done.partition, pool, task.block)
        for pool_id, pool in pools.items()
        if task.pools is None or pool_id in task.pools
    ]
    return PartitionResult(lines, history.rows() if history else None, done.undecodable)


def count_records(settings: Settings, prefix: str) -> int:
    """Of the topic `chain`: what a replay to its end reads."""
    return asyncio.run(_count(settings, topics(prefix).chain))


async def _count(settings: Settings, topic: str) -> int:
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    async with reading_consumer(settings) as consumer:
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        return sum(ends[tp] - begins[tp] for tp in partitions)
