"""Partition ownership and progress, for HTTP."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import faust
from faust.types import TP

from tables.durable.table import DurableTable, Progress
from tables.partition import Partition
from tables.processing.processor import PartitionProcessor
from web.errors import HttpError
from web.owners.advertised import advertising_problem
from web.owners.progress import ProgressMonitor

log = logging.getLogger(__name__)

OBSERVE_EVERY_S = 1.0


class Owners(Protocol):
    """Which worker owns which partition."""

    def urls(self) -> Mapping[int, str]:
        """Partition to the base URL of the worker that owns it."""

    def own_url(self) -> str: ...

    def ready(self, partition: int) -> bool:
        """Whether it is owned by this worker, and its table is recovered."""

    def owned(self) -> set[int]:
        """Assigned to this worker, recovered or not."""

    def stalled(self) -> str | None:
        """Why the worker makes no progress though it should; None where it does."""


class Ownership:
    """Owners as Faust's assignment says."""

    def __init__(
        self,
        app: faust.App,
        table: DurableTable,
        sources: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._table = table
        self._sources = sources
        self._monitor = ProgressMonitor(clock)
        self._advertising_problem: str | None = None

    def urls(self) -> dict[int, str]:
        owners = self._app.router.table_metadata(self._table.name)
        changelog = self._table.changelog_topic_name
        return {
            partition: str(url).rstrip("/") for url, topics in owners.items() for partition in topics.get(changelog, ())
        }

    def own_url(self) -> str:
        return str(self._app.conf.canonical_url).rstrip("/")

    def owned(self) -> set[int]:
        mine = self.own_url()
        return {partition for partition, url in self.urls().items() if url == mine} | self._table.owned()

    def ready(self, partition: int) -> bool:
        return self._table.ready(partition)

    def stalled(self) -> str | None:
        return self._monitor.stalled()

    async def observe_progress(self) -> None:
        """For ever. Faust starts timers only when the first recovery is complete, so it cannot be one."""
        while True:
            self.observe()
            await asyncio.sleep(OBSERVE_EVERY_S)

    def observe(self) -> None:
        self._monitor.observe({**self._recovery(), **self._reading()})
        problem = advertising_problem(self.own_url(), self.urls(), self._assigned())
        if problem and problem != self._advertising_problem:
            log.warning("%s", problem)
        self._advertising_problem = problem

    def _assigned(self) -> set[int]:
        changelog = self._table.changelog_topic_name
        return {tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == changelog}

    def _recovery(self) -> dict[tuple[str, int], Progress]:
        changelog = str(self._table.changelog_topic_name)
        return {(changelog, partition): progress for partition, progress in self._table.progress().items()}

    def _reading(self) -> dict[tuple[str, int], Progress]:
        highwater = self._app.consumer.highwater
        return {
            (topic, partition): Progress(positions.get(topic, 0), highwater(TP(topic, partition)) or 0)
            for partition in self._table.owned()
            for positions in [self._table.positions(partition)]
            for topic in self._sources
        }


class OwnedPartitions:
    """The pools that this worker answers for itself."""

    def __init__(self, processor: PartitionProcessor, owners: Owners) -> None:
        self._processor = processor
        self._owners = owners

    def get(self, index: int) -> Partition | None:
        return self._processor.partitions.get(index) if self._owners.ready(index) else None

    def require(self, index: int) -> Partition:
        partition = self.get(index)
        if partition is None:
            raise HttpError(503, f"partition {index} is being recovered")
        return partition

    def owned(self) -> list[int]:
        return sorted(self._owners.owned())

    def loaded(self) -> dict[int, Partition]:
        """Also those whose recovery is not complete."""
        return self._processor.partitions
