"""One partition's state, and what a chunk of records changes in it until its rows are written. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from protocols.types import PoolId
from streams.kafka.records import SnapshotRecord, Update, encode_record
from tables.chain import CanonicalChain
from tables.pool import PENDING_BLOCKS, Pool
from tables.ring import Slots
from tables.row_changes import NO_NAMES, PoolNames, chain_changes, pool_changes, unlisted_changes
from tables.rows import Positions, Rows
from tables.unlisted import UnlistedPool

Source = Literal["whitelist", "chain", "snapshots"]

SPARE_HEADS = PENDING_BLOCKS
"""Heads remembered beyond the pools' memory: they show whether a snapshot is of another fork."""


class Partition:
    """State only; changed through `Changes`, by the one task of the partition."""

    def __init__(self, memory_blocks: int) -> None:
        self.memory_blocks = memory_blocks
        self.chain = CanonicalChain(memory_blocks + SPARE_HEADS)
        self.pools: dict[PoolId, Pool] = {}
        self.holding: set[PoolId] = set()
        """Pools that hold a snapshot ahead of the head."""
        self.unlisted: dict[PoolId, UnlistedPool] = {}
        self.positions: dict[str, int] = {}
        """Topic to the offset of the last record whose rows are written."""
        self.chain_offset = -1
        """Of the last record of `chain` that is folded, its rows written or not."""
        self.names: dict[PoolId, PoolNames] = {}
        self.head_slots: Slots = ()
        """Of the chain's heads, as their rows are written."""
        self.ahead: dict[PoolId, Positions] = {}
        """Pools that a crash left stored as of later records than the partition."""

    @property
    def head(self) -> int | None:
        return self.chain.head.number if self.chain.head else None

    @property
    def next_block(self) -> int:
        """The first block of which nothing is folded yet."""
        return self.head + 1 if self.head is not None else self.chain.since

    def set_pool(self, pool_id: PoolId, pool: Pool) -> None:
        self.pools[pool_id] = pool
        if pool.held:
            self.holding.add(pool_id)
        else:
            self.holding.discard(pool_id)

    def remove_pool(self, pool_id: PoolId) -> None:
        del self.pools[pool_id]
        self.holding.discard(pool_id)

    def is_ahead(self, pool_id: PoolId) -> bool:
        """The pool's state is of a later record of `chain` than the partition has read: of no block that it knows."""
        return bool(self.ahead) and self.chain_offset < self.ahead.get(pool_id, {}).get("chain", -1)

    def has_read(self, pool_id: PoolId, source: Source, offset: int) -> bool:
        """The stored rows, or those of the pool alone, were written after this record."""
        if offset <= self.positions.get(source, -1):
            return True
        return bool(self.ahead) and offset <= self.ahead.get(pool_id, {}).get(source, -1)

    def positions_of(self, pool_id: PoolId) -> Positions:
        ahead = self.ahead.get(pool_id, {})
        return self.positions | {source: max(at, self.positions.get(source, -1)) for source, at in ahead.items()}


class Rejected(NamedTuple):
    """A record that contradicts the state, or itself."""

    offset: int
    pool: PoolId
    reason: str
    record: str
    """As JSON."""


class PoolChange(NamedTuple):
    pool_id: PoolId
    before: Pool | None
    after: Pool | None


class Changes:
    """The unit of work: every change of a partition since its rows were last written."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.rejected: list[Rejected] = []
        self.touched: dict[PoolId, Pool | None] = {}
        """Pools that changed since this was last emptied, as they were before."""
        self._chain_before = partition.chain
        self._pools_before: dict[PoolId, Pool | None] = {}
        self._unlisted: set[PoolId] = set()
        self._deleted: Rows = {}

    def put(self, pool_id: PoolId, pool: Pool | None) -> None:
        """None takes the pool away."""
        before = self.partition.pools.get(pool_id)
        if before is pool:
            return
        self._pools_before.setdefault(pool_id, before)
        self.touched.setdefault(pool_id, before)
        if pool is None:
            self.partition.remove_pool(pool_id)
        else:
            self.partition.set_pool(pool_id, pool)

    def put_unlisted(self, pool_id: PoolId, unlisted: UnlistedPool | None) -> None:
        before = self.partition.unlisted.get(pool_id)
        if before is unlisted:
            return
        if unlisted:
            self.partition.unlisted[pool_id] = unlisted
        else:
            del self.partition.unlisted[pool_id]
        self._unlisted.add(pool_id)

    def put_all(self, source: Source, offset: int, change: Callable[[Pool], Pool]) -> None:
        """Every pool that has not read the record."""
        for pool_id, pool in list(self.partition.pools.items()):
            if not self.partition.has_read(pool_id, source, offset):
                self.put(pool_id, change(pool))

    def rewrite(self, pool_id: PoolId, stored: Pool | None) -> None:
        """The rows of the pool that are not as in `stored` are written again; all of them for None."""
        self._pools_before[pool_id] = stored

    def delete(self, keys: Iterable[bytes]) -> None:
        self._deleted |= dict.fromkeys(keys, None)

    def reject(self, offset: int, record: Update | SnapshotRecord, reason: str) -> None:
        self.rejected.append(Rejected(offset, record.pool, reason, encode_record(record).decode()))

    def pools(self) -> Iterator[PoolChange]:
        for pool_id, before in self._pools_before.items():
            yield PoolChange(pool_id, before, self.partition.pools.get(pool_id))

    def commit(self, source: Source, offset: int) -> Rows:
        """All rows that differ; `offset` is the last folded of `source`. The value is used up."""
        partition = self.partition
        partition.positions[source] = max(offset, partition.positions.get(source, -1))
        written = dict(self._deleted)
        for pool_id, before, after in self.pools():
            names = partition.names.get(pool_id, NO_NAMES)
            pool_rows, names = pool_changes(pool_id, before, after, names, partition.positions_of(pool_id))
            partition.names[pool_id] = names
            if after is None:
                del partition.names[pool_id]
            written |= pool_rows
        for pool_id in self._unlisted:
            written |= unlisted_changes(pool_id, partition.unlisted.get(pool_id), partition.positions)
        chain_rows, partition.head_slots = chain_changes(
            self._chain_before, partition.chain, partition.head_slots, partition.positions
        )
        return written | chain_rows
