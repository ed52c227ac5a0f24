"""The databases of the partitions that this worker holds, active or standby, as Faust's recovery fills them."""

import asyncio
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from pathlib import Path
from typing import Any

from faust.stores.base import Store
from faust.types import TP, EventT

from tables.durable.changelog import stamped
from tables.durable.chunks import Fetched
from tables.durable.database import Database
from tables.durable.rocksdb import DirectoryTaken

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 10.0
LOCK_PAUSE_S = 0.5


class ChangelogCut(Exception):
    def __init__(self, tp: TP, offset: int, earliest: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} begins at record {earliest}, and the rows here are up to "
            f"{offset - 1}; what lies between is lost: the topic's cleanup.policy must be compact alone"
        )


class ReadOnlyTable(TypeError):
    def __init__(self, table: str) -> None:
        super().__init__(f"table {table} is written by folding its topics alone: send a record to one of them")


class DurableStore(Store):  # type: ignore[misc] # faust is not typed
    """A database is open exactly while its partition is assigned to this worker, active or standby."""

    def __post_init__(self) -> None:
        self.databases: dict[int, Database] = {}
        self.to_rewrite: defaultdict[int, set[bytes]] = defaultdict(set)
        """Per partition the rows whose last record in the changelog is an older write, found in recovery."""
        self._going_back: set[asyncio.Task[None]] = set()

    # what the table is asked as a mapping: the decoded values, which only a fold changes

    def __getitem__(self, key: Any) -> Any:
        return self.table.decoded[key]

    def __contains__(self, key: object) -> bool:
        return key in self.table.decoded

    def __iter__(self) -> Iterator[Any]:
        return iter(self.table.decoded)

    def __len__(self) -> int:
        return len(self.table.decoded)

    def keys(self) -> KeysView[Any]:
        return KeysView(self.table.decoded)

    def values(self) -> ValuesView[Any]:
        return ValuesView(self.table.decoded)

    def items(self) -> ItemsView[Any, Any]:
        return ItemsView(self.table.decoded)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ReadOnlyTable(self.table.name)

    def __delitem__(self, key: Any) -> None:
        raise ReadOnlyTable(self.table.name)

    def clear(self) -> None:
        raise ReadOnlyTable(self.table.name)

    # databases

    def persisted_offset(self, tp: TP) -> int | None:
        database = self.databases.get(tp.partition)
        return database.offset if database and database.offset >= 0 else None

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """The offset is written with the rows."""

    async def need_active_standby_for(self, tp: TP) -> bool:
        return True

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        ours = {tp.partition for tp in assigned if tp.topic == self.table.changelog_topic_name}
        for partition in self.databases.keys() - ours:
            self._close(partition)
        for partition in sorted(ours - self.databases.keys()):
            self.databases[partition] = await self._opened(self.partition_path(partition))

    async def stop(self) -> None:
        for partition in list(self.databases):
            self._close(partition)
        await super().stop()

    def apply_changelog_batch(
        self, batch: Iterable[EventT], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Faust logs what this raises and goes on; so it ends the worker itself."""
        try:
            for event in batch:
                self._apply(event.message.value)
        except Exception as error:
            log.exception("a changelog record cannot be applied")
            asyncio.ensure_future(self.app.crash(error))  # noqa: RUF006 the app outlives it
            raise

    def reset_state(self) -> None:
        for path in Path(self.app.conf.tabledir).glob(f"{self.table_name}-*.db*"):
            shutil.rmtree(path)

    def partition_path(self, partition: int) -> Path:
        return Path(self.app.conf.tabledir) / f"{self.table_name}-{partition}.db"

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        raise NotImplementedError("the changelog is the backup")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        raise NotImplementedError("the changelog is the backup")

    def _apply(self, fetched: Fetched) -> None:
        """A chunk that does not continue where the rows are is left out: Faust clears its queues when it resumes."""
        partition = fetched.chunk.partition
        database = self.databases.get(partition)
        if database is None or self.table.tasks.has(partition):
            return
        known = database.offset
        if fetched.end <= known + 1:
            return
        if fetched.start > known + 1:
            going = self.loop.create_task(self._go_back(partition, known + 1))
            self._going_back.add(going)
            going.add_done_callback(self._going_back.discard)
            return
        merge = database.merge(map(stamped, fetched.after(known + 1).records), fetched.end - 1)
        self.to_rewrite[partition] -= merge.replaced
        self.to_rewrite[partition] |= merge.to_rewrite

    async def _go_back(self, partition: int, offset: int) -> None:
        tp = TP(self.table.changelog_topic_name, partition)
        earliest = await self.table.tasks.earliest(tp)
        if earliest > offset > 0:
            await self.app.crash(ChangelogCut(tp, offset, earliest))
            return
        if earliest > offset and (database := self.databases.get(partition)):
            database.write([], earliest - 1)
        log.warning("%s partition %d: going back to %d", tp.topic, partition, max(offset, earliest))
        await self.app.consumer.seek_wait({tp: max(offset, earliest)})

    async def _opened(self, path: Path) -> Database:
        deadline_s = self.loop.time() + LOCK_TIMEOUT_S
        while True:
            try:
                return Database(path)
            except DirectoryTaken:
                if self.loop.time() > deadline_s:
                    raise
            await asyncio.sleep(LOCK_PAUSE_S)

    def _close(self, partition: int) -> None:
        self.to_rewrite.pop(partition, None)
        self.databases.pop(partition).close()
