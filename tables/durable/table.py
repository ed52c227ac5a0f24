"""The durable table as an application sees it: chunks go in, rows and positions can be read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import faust
from faust.types import EventT
from yarl import URL

from tables.durable.changelog import send_records
from tables.durable.chunks import Processor, Rows
from tables.durable.partition_tasks import PartitionTasks
from tables.durable.store import DurableStore, ReadOnlyTable

RECOVERY_CHUNKS = 4
"""Chunks that recovery gathers before it applies them."""


class Progress(NamedTuple):
    """Of reading a topic partition."""

    offset: int
    end: int
    """Where there is nothing more to read: the offset has reached it."""


class Sources(NamedTuple):
    """The topics that are folded into the table; agents may follow others, which Faust delivers as ever."""

    contiguous: frozenset[str]
    """A missing offset is a missing record."""
    compacted: frozenset[str] = frozenset()
    """Offsets may be missing."""

    @property
    def all(self) -> frozenset[str]:
        return self.contiguous | self.compacted


class DurableTable(faust.Table):  # type: ignore[misc] # faust is not typed
    """Rows of bytes by keys of bytes, written by folding chunks and by nothing else.

    To agents and views it reads as any Faust table: `table[key]`, `get`, `in`, `len`, `keys`, `items` give what the
    rows of this worker's partitions mean. Writing raises ReadOnlyTable.
    """

    def __init__(  # noqa: PLR0913  options by keyword
        self,
        app: faust.App,
        *,
        name: str,
        processor: Processor,
        sources: Sources,
        decoded: Mapping[Any, Any],
        partitions: int,
        **options: Any,
    ) -> None:
        super().__init__(
            app,
            name=name,
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            recovery_buffer_size=RECOVERY_CHUNKS,
            standby_buffer_size=1,
            **options,
        )
        self.sources = sources.all
        self.decoded = decoded
        self.tasks = PartitionTasks(self, processor, sources.contiguous)
        """For the layer itself."""

    def accept(self, event: EventT) -> None:
        """Queues the chunk of an agent's event for the task of its partition."""
        self.tasks.accept(event.message.value)

    def rows(self, partition: int) -> Rows | None:
        """None while the partition is not assigned to this worker, or not recovered."""
        task = self.tasks.get(partition)
        return task.database if task and task.open else None

    def ready(self, partition: int) -> bool:
        return self.rows(partition) is not None

    def positions(self, partition: int) -> Mapping[str, int]:
        """Source topic to the offset of the next record; empty while the partition is not ready."""
        return self.tasks.positions(partition)

    def owned(self) -> set[int]:
        """The partitions that are ready."""
        return self.tasks.open()

    def progress(self) -> dict[int, Progress]:
        """In the changelog, of the partitions that are assigned to this worker and being recovered."""
        recovery = self.app.tables.recovery
        return {
            tp.partition: Progress(recovery.active_offsets[tp] or 0, end)
            for tp, end in recovery.active_highwaters.items()
            if tp in recovery.active_tps and self.tasks.get(tp.partition) is None and end is not None
        }

    async def send(self, topic: str, key: bytes, value: bytes) -> None:
        """A side record, acknowledged."""
        await send_records(self.tasks.producer(), [(topic, key, value)])

    # Faust calls these before a value is set or deleted, and would send a changelog record

    def on_key_set(self, key: Any, value: Any) -> None:
        raise ReadOnlyTable(self.name)

    def on_key_del(self, key: Any) -> None:
        raise ReadOnlyTable(self.name)

    def on_clear(self) -> None:
        raise ReadOnlyTable(self.name)

    def _new_store_by_url(self, url: str | URL) -> DurableStore:
        return DurableStore(url, self.app, self, table_name=self.name, key_type=bytes, value_type=bytes, loop=self.loop)

    async def on_stop(self) -> None:
        await self.tasks.release()
        await super().on_stop()
