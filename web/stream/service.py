"""The stream of one worker: starts reading the topic when the first reader comes, and serves all of them."""

import asyncio
import logging
from typing import Any, Protocol

from protocols.types import PoolId
from settings import Settings
from streams.kafka.groups import cancel_and_wait
from streams.kafka.topics import partition_of
from tables.views.envelope import ServedChain
from web.errors import HttpError
from web.stream.chain.assembly import Assembler
from web.stream.chain.timeline import Timeline
from web.stream.events import PoolsAt
from web.stream.hub import Hub
from web.stream.partitions import PartitionPools, PartitionTicks
from web.stream.source import UpdatesSource

log = logging.getLogger(__name__)

READY_S = 15.0
"""So long a reader waits for the stream's first block."""
SPARE_BLOCKS = 64
"""Remembered beyond the pools' memory."""
POOLS_PER_REQUEST = 100
"""Whose ticks are asked for at once: the names of the pools are in the address."""
STOPPING = "this worker stops; connect again, or to another one"


class Partitions(Protocol):
    """What the owners of partitions answer."""

    async def pools(self, index: int, since: int | None) -> PartitionPools: ...

    async def ticks(self, index: int, block_hash: str, pools: list[PoolId]) -> PartitionTicks: ...


class StreamService:
    def __init__(self, settings: Settings, partitions: Partitions, served: ServedChain) -> None:
        self._settings = settings
        self._partitions = partitions
        self._assembler = Assembler(settings.partitions)
        self.timeline = Timeline(settings.memory_blocks + SPARE_BLOCKS)
        self.hub = Hub(served, self.timeline, self._assembler)
        self._tasks: list[asyncio.Task[Any]] = []
        self._ready = asyncio.Event()
        self._is_closed = False

    async def started(self) -> None:
        """Once there is a first block. Raises HttpError."""
        if not self._settings.updates:
            raise HttpError(503, "the stream is off: ARENA_UPDATES is false, and it is made of the topic of updates")
        if self._is_closed:
            raise HttpError(503, STOPPING)
        if not self._tasks:
            source = UpdatesSource(self._settings, self._partitions.pools, self._assembler, self.timeline.pools)
            self._tasks = [
                asyncio.create_task(source.run(self._assembled), name="stream source"),
                asyncio.create_task(self.hub.send_status(), name="stream status"),
            ]
            for task in self._tasks:
                task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(READY_S):
                await self._ready.wait()
        except TimeoutError as error:
            raise HttpError(503, "no block is complete across all partitions yet; ask again") from error

    async def close(self) -> None:
        self._is_closed = True
        self.hub.close(STOPPING)
        tasks, self._tasks = self._tasks, []
        await cancel_and_wait(*tasks)

    async def ticks(self, found: PoolsAt) -> dict[PoolId, bytes]:
        """Of the pools that are live. Raises HttpError."""
        block, pools = found.head, [entry.id for entry in found.pools if entry.is_live]
        by_partition: dict[int, list[PoolId]] = {}
        for pool in pools:
            by_partition.setdefault(partition_of(pool.encode(), self._settings.partitions), []).append(pool)
        parts = [
            (index, each[start : start + POOLS_PER_REQUEST])
            for index, each in by_partition.items()
            for start in range(0, len(each), POOLS_PER_REQUEST)
        ]
        answers = [await self._partitions.ticks(index, block.hash, part) for index, part in parts]
        ticks = {pool: bytes(raw) for answer in answers for pool, raw in answer.ticks.items()}
        if missing := [pool for pool in pools if pool not in ticks]:
            raise HttpError(503, f"the ticks of {len(missing)} pools at block {block.number} cannot be had; ask again")
        return ticks

    async def _assembled(self) -> None:
        for transition in self._assembler.transitions():
            self.timeline.apply(transition)
            self._ready.set()
        await self.hub.publish()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """A fault of ours: readers must not wait for a stream that has ended."""
        if task.cancelled() or task.exception() is None:
            return
        log.error("the stream ends and is read anew: %r", task.exception(), exc_info=task.exception())
        self.hub.close("the stream ended by an error of this worker; connect again")
        for other in self._tasks:
            other.cancel()
        self._tasks = []
