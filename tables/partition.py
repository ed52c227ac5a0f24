"""One partition: its chain, its pools, and what each record of the three topics does to them. No I/O, no clock."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from protocols import folding
from protocols.ticks import InvariantViolation
from protocols.types import PoolId
from streams.kafka.records import ChainRecord, Listed, Snapshot, SnapshotRecord, Update, encode_record
from tables import chain as chains
from tables import pool as pools
from tables import rows, snapshots
from tables.chain import Broken, CanonicalChain, Happened, Illegible, Rewound, Started
from tables.pool import Live, Pending, Pool, UnlistedPool, Waiting
from tables.rows import Positions, Rows

Source = Literal["whitelist", "chain", "snapshots"]


class Impossible(NamedTuple):
    """A record that could be read but not be applied: it cannot be true together with what is held."""

    offset: int
    pool: PoolId
    reason: str
    record: str
    """As JSON."""


PENDING_HEADS = pools.PENDING_BLOCKS
"""Heads remembered beyond the pools' memory: by them a snapshot is told from one of another fork."""


class Partition:
    """Mutable, and owned by one task: a chunk is folded between `positions` and `changes`."""

    def __init__(self, memory_blocks: int) -> None:
        self.memory_blocks = memory_blocks
        self.chain = CanonicalChain(memory_blocks + PENDING_HEADS)
        self.pools: dict[PoolId, Pool] = {}
        self.strangers: dict[PoolId, UnlistedPool] = {}
        self.positions: dict[str, int] = {}
        self._followed = -1
        self._ahead: dict[PoolId, Positions] = {}
        self._chain_before = self.chain
        self._before: dict[PoolId, Pool | None] = {}
        self._met: set[PoolId] = set()
        self._let_go: Rows = {}
        self._impossible: list[Impossible] = []

    @property
    def head(self) -> int | None:
        return self.chain.head.number if self.chain.head else None

    def listed(self, pool_id: PoolId, record: Listed | None, offset: int) -> None:
        """None takes the pool off the list: it is forgotten everywhere."""
        if self._seen(pool_id, "whitelist", offset):
            return
        known = self.pools.get(pool_id)
        if record is None:
            self._forgotten(pool_id)
        elif known:
            self._put(pool_id, pools.relisted(known, record, self.head))
            if self.pools[pool_id].life is not known.life:
                self._ahead.pop(pool_id, None)
        else:
            self._introduced(pool_id, record)

    def _forgotten(self, pool_id: PoolId) -> None:
        """Also of a pool that is not known: a crash may have come after its row went."""
        self._ahead.pop(pool_id, None)
        if pool_id in self.pools:
            self._put(pool_id, None)
        self._meet(pool_id, UnlistedPool(since=self._next()) if self._next() > self.chain.since else None)

    def _introduced(self, pool_id: PoolId, record: Listed) -> None:
        """What came for it before it was listed counts as if it had come after."""
        stranger = self.strangers.get(pool_id, UnlistedPool())
        pool = pools.listed(record, max(self.chain.since, stranger.since), stranger.pending)
        if stranger.snapshot:
            pool = snapshots.observed(pool, stranger.snapshot, self.chain)
        self._put(pool_id, pool)
        self._meet(pool_id, None)

    def followed(self, record: ChainRecord | Illegible, offset: int) -> None:
        if offset <= self.positions.get("chain", -1):
            return
        self.chain, steps = chains.follow(self.chain, record)
        for step in steps:
            match step:
                case Happened():
                    self._happened(step, offset)
                case Rewound(ancestor):
                    self._each("chain", offset, lambda pool: pools.rewound(pool, ancestor))
                    self._rewound_strangers(ancestor.number)
                case Broken(last, reason):
                    self._broken(last, reason, offset)
                case Started(first):
                    self._each("chain", offset, lambda pool: pools.started(pool, first))
        self._followed = offset

    def observed(self, record: SnapshotRecord, offset: int) -> None:
        pool = self.pools.get(record.pool)
        if self._seen(record.pool, "snapshots", offset):
            return
        if pool is None:
            if isinstance(record, Snapshot):
                stranger = self.strangers.get(record.pool, UnlistedPool())
                self._meet(record.pool, UnlistedPool(stranger.pending, record, stranger.since))
            return
        if self.is_ahead(record.pool):
            if isinstance(record, Snapshot):
                self._put(record.pool, snapshots.held(pool, record))
            return
        if isinstance(record, Snapshot):
            after = snapshots.observed(pool, record, self.chain)
        else:
            after = snapshots.unreadable(pool, record)
        self._put(record.pool, after)
        if after.story.impossible > pool.story.impossible:
            self._refuse(offset, record, after.story.last_refusal or "")

    def doubted(self, pool_id: PoolId, reason: str) -> None:
        """The pool's state cannot be relied on, for a reason outside the records."""
        if pool := self.pools.get(pool_id):
            self._ahead.pop(pool_id, None)
            self._put(pool_id, pools.lost(pool, self._next() - 1, reason))

    def is_ahead(self, pool_id: PoolId) -> bool:
        """A crash left it stored as of a later record of `chain`: until that is read, its state is of no block here."""
        return bool(self._ahead) and self._followed < self._ahead.get(pool_id, {}).get("chain", -1)

    def missed(self, reason: str, offset: int) -> None:
        """Records of `chain` up to that offset are not to be had: every pool must be read from the chain again."""
        head = self.head or 0
        self.chain = CanonicalChain(self.chain.memory, since=head + 1, term=self.chain.term)
        self._broken(head, reason, offset)

    def take_impossible(self) -> list[Impossible]:
        taken, self._impossible = self._impossible, []
        return taken

    def _happened(self, step: Happened, offset: int) -> None:
        for pool_id, events in step.events.items():
            pool = self.pools.get(pool_id)
            if pool is None:
                self._happened_to_stranger(pool_id, Pending(step.block, folding.compact(events)))
            elif not self._seen(pool_id, "chain", offset):
                after = pools.apply(pool, step.block, events, self.memory_blocks)
                self._put(pool_id, after)
                if isinstance(pool.life, Live) and isinstance(after.life, Waiting):
                    self._refuse(offset, Update(pool_id, step.block, events), after.life.reason)
        for pool_id in step.illegible:
            self._illegible(pool_id, step.block.number, offset)
        for pool_id in [each for each, pool in self.pools.items() if pool.held]:
            if not self._seen(pool_id, "chain", offset):
                self._put(pool_id, snapshots.reached(self.pools[pool_id], self.chain))
        self._outgrown()

    def _illegible(self, pool_id: PoolId, block: int, offset: int) -> None:
        pool = self.pools.get(pool_id)
        if pool is None:
            self._meet(
                pool_id, UnlistedPool(snapshot=self.strangers.get(pool_id, UnlistedPool()).snapshot, since=block + 1)
            )
        elif not self._seen(pool_id, "chain", offset):
            self._put(pool_id, pools.lost(pool, block, f"dead letter: an update of block {block} could not be read"))

    def _broken(self, last: int, reason: str, offset: int) -> None:
        self._each("chain", offset, lambda pool: pools.lost(pool, last, reason))
        for pool_id, stranger in list(self.strangers.items()):
            self._meet(pool_id, UnlistedPool((), stranger.snapshot) if stranger.snapshot else None)

    def _happened_to_stranger(self, pool_id: PoolId, pending: Pending) -> None:
        stranger = self.strangers.get(pool_id, UnlistedPool())
        if not stranger.pending or stranger.pending[-1].block.number < pending.block.number:
            self._meet(pool_id, UnlistedPool((*stranger.pending, pending), stranger.snapshot, stranger.since))

    def _rewound_strangers(self, ancestor: int) -> None:
        for pool_id, stranger in list(self.strangers.items()):
            pending = tuple(each for each in stranger.pending if each.block.number <= ancestor)
            since = min(stranger.since, ancestor + 1)
            if (len(pending), since) != (len(stranger.pending), stranger.since):
                self._meet(pool_id, UnlistedPool(pending, stranger.snapshot, since))

    def _outgrown(self) -> None:
        """What came for pools that are not listed is kept as long as the chain remembers the block."""
        first = max(self.chain.since, self._next() - self.chain.memory)
        self.chain = msgspec.structs.replace(self.chain, since=first)
        for pool_id, stranger in list(self.strangers.items()):
            pending = tuple(each for each in stranger.pending if each.block.number >= first)
            snapshot = stranger.snapshot if stranger.snapshot and stranger.snapshot.block.number >= first - 1 else None
            if not pending and not snapshot and stranger.since <= first:
                self._meet(pool_id, None)
            elif (len(pending), snapshot) != (len(stranger.pending), stranger.snapshot):
                self._meet(pool_id, UnlistedPool(pending, snapshot, stranger.since))

    def _next(self) -> int:
        """The first block of which nothing is folded yet."""
        return self.head + 1 if self.head is not None else self.chain.since

    def _meet(self, pool_id: PoolId, stranger: UnlistedPool | None) -> None:
        if stranger:
            self.strangers[pool_id] = stranger
        elif self.strangers.pop(pool_id, None) is None:
            return
        self._met.add(pool_id)

    def _refuse(self, offset: int, record: Update | SnapshotRecord, reason: str) -> None:
        self._impossible.append(Impossible(offset, record.pool, reason, encode_record(record).decode()))

    def _each(self, source: Source, offset: int, change: Callable[[Pool], Pool]) -> None:
        for pool_id, pool in list(self.pools.items()):
            if not self._seen(pool_id, source, offset):
                self._put(pool_id, change(pool))

    def _seen(self, pool_id: PoolId, source: Source, offset: int) -> bool:
        """The stored rows, or those of the pool alone, were written after this record (rule 12)."""
        if offset <= self.positions.get(source, -1):
            return True
        return bool(self._ahead) and offset <= self._ahead.get(pool_id, {}).get(source, -1)

    def _positions(self, pool_id: PoolId) -> Positions:
        ahead = self._ahead.get(pool_id, {})
        return self.positions | {source: max(at, self.positions.get(source, -1)) for source, at in ahead.items()}

    def _put(self, pool_id: PoolId, pool: Pool | None) -> None:
        before = self.pools.get(pool_id)
        if before is pool:
            return
        self._before.setdefault(pool_id, before)
        if pool is None:
            del self.pools[pool_id]
        else:
            self.pools[pool_id] = pool

    def touched(self) -> Iterator[tuple[PoolId, Pool | None, Pool | None]]:
        """Pools that are not as they were when the last chunk was over: id, before, after."""
        return ((pool_id, before, self.pools.get(pool_id)) for pool_id, before in self._before.items())

    def changes(self, source: Source, offset: int) -> Rows:
        """All rows that differ since the last call; `offset` is the last folded of `source`. Ends the chunk."""
        self.positions[source] = max(offset, self.positions.get(source, -1))
        written = dict(self._let_go)
        for pool_id, before, after in self.touched():
            written |= rows.pool_changes(pool_id, before, after, self._positions(pool_id))
        for pool_id in self._met:
            written |= rows.stranger_changes(pool_id, self.strangers.get(pool_id), self.positions)
        written |= rows.chain_changes(self._chain_before, self.chain, self.positions)
        self._chain_before, self._before, self._met, self._let_go = self.chain, {}, set(), {}
        return written

    def load(self, get: Callable[[bytes], bytes | None], scan: rows.Scan) -> Iterable[tuple[PoolId, str]]:
        """Everything as stored; gives the pools whose rows do not agree, and why: they wait for a snapshot now."""
        self.chain, positions = rows.stored_chain(self.chain.memory, get, scan)
        self._chain_before = self.chain
        self.positions = dict(positions)
        self._followed = self.positions.get("chain", -1)
        self.strangers = dict(rows.stored_strangers(self.chain, self.positions, scan))
        doubtful = []
        for key, value in list(scan(rows.POOLS)):
            pool_id = PoolId(key.decode())
            try:
                self._load_pool(pool_id, rows.stored_pool(value, get, scan))
            except InvariantViolation as violation:
                head = rows.stored_head(value)
                doubtful.append((pool_id, str(violation)))
                pool = Pool(head.listed, pools.Waiting("", 0), None, head.story)
                self._load_pool(pool_id, rows.Stored(pool, head.positions, rows.ticks_keys(pool_id, scan), whole=False))
                self.doubted(pool_id, f"stored rows do not agree: {violation}")
        self._let_go |= dict.fromkeys(rows.orphans(self.pools, self.chain, scan), None)
        return doubtful

    def _load_pool(self, pool_id: PoolId, stored: rows.Stored) -> None:
        self.pools[pool_id] = stored.pool
        self._meet(pool_id, None)
        self._let_go |= dict.fromkeys(stored.stale, None)
        if not stored.whole:
            self._before[pool_id] = None
        if any(offset > self.positions.get(source, -1) for source, offset in stored.positions.items()):
            self._ahead[pool_id] = stored.positions
