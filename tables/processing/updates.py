"""What a chunk changes in a partition, as records of topic `updates`: written before the position moves past it."""

from collections.abc import Iterator

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
from tables.views.pool import pool_view

TICKS_PER_RECORD = 4000
"""Some 400 kB; a pool with more changed ticks has several records, so that none is too large for the topic."""

encode = msgspec.json.encode
GONE = Liquidity(0, 0)


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
        self._records: list[tuple[bytes | None, UpdatesRecord]] = []

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
        block = Block(chain.head.number, chain.head.hash) if chain.head else None
        opened = len(self._records)
        for pool_id, old in touched.items():
            self._records += self._pool_records(pool_id, old, block)
            yield
        self._records.append((None, _closing(before, chain, len(self._records) - opened, self._epoch)))
        self._chain = chain

    def appends(self) -> list[Append]:
        """The records since the last call, encoded; of many ticks that takes a while."""
        records, self._records = self._records, []
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

    def _pool_records(
        self, pool_id: PoolId, before: Pool | None, block: Block | None
    ) -> Iterator[tuple[bytes, UpdatesRecord]]:
        key, after = pool_id.encode(), self._partition.pools.get(pool_id)
        if after is None:
            self._without_ticks.discard(pool_id)
            yield key, PoolRemoved(block, self._epoch, pool_id)
            return
        view = pool_view(self._partition, after)
        raw = msgspec.Raw(encode(view))
        if view.status == "waiting":
            self._without_ticks.add(pool_id)
            yield key, PoolChanged(block, self._epoch, raw)
            return
        changed = changed_ticks(None if pool_id in self._without_ticks else _ticks(before), _ticks(after))
        self._without_ticks.discard(pool_id)
        for start in range(0, max(len(changed), 1), TICKS_PER_RECORD):
            part = changed[start : start + TICKS_PER_RECORD]
            yield key, PoolChanged(block, self._epoch, raw, msgspec.Raw(b"[" + b",".join(part) + b"]"))


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
