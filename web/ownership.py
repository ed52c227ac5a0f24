"""Partition ownership and progress, for HTTP."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import faust
from faust.types import TP

from tables.durable.table import DurableTable
from tables.partition import Partition
from tables.processor import PartitionProcessor
from web.errors import HttpError

STALLED_AFTER_S = 60.0


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

    def __init__(self, app: faust.App, table: DurableTable, sources: Sequence[str]) -> None:
        self._app = app
        self._table = table
        self._sources = sources
        self._positions: dict[int, Mapping[str, int]] = {}
        self._moved_s = time.monotonic()

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

    def look(self) -> None:
        """To be called every second or so: notices whether the positions move while there is something to read."""
        positions = {partition: self._table.positions(partition) for partition in self._table.owned()}
        if positions != self._positions or not self._is_behind():
            self._positions, self._moved_s = positions, time.monotonic()

    def stalled(self) -> str | None:
        if (since := time.monotonic() - self._moved_s) > STALLED_AFTER_S:
            return f"there are records to fold, and none was folded for {since:.0f} s"
        return None

    def _is_behind(self) -> bool:
        consumer = self._app.consumer
        return any(
            (consumer.highwater(TP(topic, partition)) or 0) > positions.get(topic, 0)
            for partition, positions in self._positions.items()
            for topic in self._sources
        )


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
