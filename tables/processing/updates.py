"""What a chunk changes in a partition, as records of topic `updates`: written before the position moves past it."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from protocols.ticks import Liquidity, Ticks, differing
from protocols.types import Block, PoolId
from streams.kafka.records import Header
from streams.updates import (
    BlockClosed,
    PoolChanged,
    PoolRemoved,
    ReorgClosed,
    UpdatesRecord,
    encode_updates_record,
)
from tables.chain import CanonicalChain
from tables.durable.chunks import Append
from tables.live import Live
from tables.partition import Changes, Partition
from tables.pool import Pool
from tables.views.pool import PoolView, pool_view

TICKS_PER_RECORD = 4000
"""Some 400 kB; a pool with more changed ticks has several records, so that none is too large for the topic."""

GONE = Liquidity(0, 0)


class ChangedPool(NamedTuple):
    """A pool as of the end of a block; from immutable values, so that a thread can encode it."""

    id: PoolId
    view: PoolView | None
    """None: off the list."""
    before: Ticks | None
    after: Ticks | None

    def records(self, block: Block | None, epoch: int) -> list[UpdatesRecord]:
        if self.view is None:
            return [PoolRemoved(block, epoch, self.id)]
        raw = msgspec.Raw(msgspec.json.encode(self.view))
        if self.view.status == "waiting":
            return [PoolChanged(block, epoch, raw)]
        changed = changed_ticks(self.before, self.after)
        parts = (changed[at : at + TICKS_PER_RECORD] for at in range(0, max(len(changed), 1), TICKS_PER_RECORD))
        return [PoolChanged(block, epoch, raw, msgspec.Raw(b"[" + b",".join(part) + b"]")) for part in parts]


class Closed(NamedTuple):
    """A block or a reorg: the changed pools, and the chain before and after."""

    pools: list[ChangedPool]
    before: CanonicalChain
    after: CanonicalChain

    def records(self, epoch: int) -> Iterator[tuple[bytes | None, UpdatesRecord]]:
        block = head_of(self.after)
        count = 0
        for pool in self.pools:
            for record in pool.records(block, epoch):
                count += 1
                yield pool.id.encode(), record
        yield None, _closing(self.before, self.after, count, epoch)


class UpdatesRecorder:
    """Of one partition while this worker owns it; not every source record has something to say, each head has."""

    def __init__(self, topic: str, partition: Partition, epoch: int) -> None:
        self._topic = topic
        self._partition = partition
        self._epoch = epoch
        self._chain = partition.chain
        """As of the last closing record."""
        self._ahead = {pool_id for pool_id in partition.ahead if partition.is_ahead(pool_id)}
        self._repeated = {pool_id for pool_id, pool in partition.pools.items() if not isinstance(pool.life, Live)}
        """The owner before may have written that one of these is live, and ended before it kept that."""
        self._without_ticks: set[PoolId] = set()
        """Pools that were last written as waiting: their next ticks are all of them."""
        self._closed: list[Closed] = []

    @property
    def is_block_closed(self) -> bool:
        """The head is not that of the last closing record: the changes so far are those of a block or a reorg."""
        return self._partition.chain.head is not self._chain.head

    def close(self, changes: Changes) -> Iterator[None]:
        """Records what changed since the last closing record; stops after each pool, so that the loop can turn on.

        Without a new head it is said of the block before, and only where a pool changed.
        """
        touched = self._take(changes)
        chain, before = self._partition.chain, self._chain
        if not touched and not self.is_block_closed:
            return
        pools: list[ChangedPool] = []
        for pool_id, old in touched.items():
            pools.append(self._changed(pool_id, old))
            yield
        self._closed.append(Closed(pools, before, chain))
        self._chain = chain

    def appends(self) -> list[Append]:
        """The records since the last call; of many ticks that takes a while."""
        closed, self._closed = self._closed, []
        records = (record for each in closed for record in each.records(self._epoch))
        return [Append(self._topic, key, encode_updates_record(record)) for key, record in records]

    def _take(self, changes: Changes) -> dict[PoolId, Pool | None]:
        """Pools as they were before."""
        pools = self._partition.pools
        reached = {pool_id for pool_id in self._ahead if not self._partition.is_ahead(pool_id)}
        again = (reached | self._repeated) & pools.keys()
        self._ahead -= reached
        self._repeated = set()
        touched = dict.fromkeys(sorted(again)) | changes.touched
        changes.touched = {}
        return touched

    def _changed(self, pool_id: PoolId, before: Pool | None) -> ChangedPool:
        after = self._partition.pools.get(pool_id)
        view = pool_view(self._partition, after) if after else None
        known = None if pool_id in self._without_ticks else _ticks(before)
        if view and view.status == "waiting":
            self._without_ticks.add(pool_id)
        else:
            self._without_ticks.discard(pool_id)
        return ChangedPool(pool_id, view, known, _ticks(after))


def head_of(chain: CanonicalChain) -> Block | None:
    return Block(chain.head.number, chain.head.hash) if chain.head else None


def _closing(before: CanonicalChain, after: CanonicalChain, pools: int, epoch: int) -> BlockClosed | ReorgClosed:
    head = after.head
    if head is not None and (dropped := _dropped(before, head)):
        return ReorgClosed(head, dropped, pools, epoch)
    return BlockClosed(head, pools, epoch, after.finality.safe, after.finality.finalized, after.chain_id)


def _dropped(chain: CanonicalChain, head: Header) -> tuple[Block, ...]:
    """The blocks of the chain after the new head; none where the head is not on it, as a next block is not."""
    number = head.number - chain.heads[0].number if chain.heads else -1
    if not 0 <= number < len(chain.heads) or chain.heads[number].hash != head.hash:
        return ()
    return tuple(Block(header.number, header.hash) for header in chain.heads[number + 1 :])


def _ticks(pool: Pool | None) -> Ticks | None:
    return pool.life.ticks if pool and isinstance(pool.life, Live) else None


def changed_ticks(before: Ticks | None, after: Ticks | None) -> list[bytes]:
    """As JSON, ascending."""
    return [_tick(tick, (after.get(tick) if after else None) or GONE) for tick in differing(before, after)]


def _tick(tick: int, liquidity: Liquidity) -> bytes:
    return b'{"tick":%d,"liquidity_gross":"%d","liquidity_net":"%d"}' % (tick, liquidity.gross, liquidity.net)
