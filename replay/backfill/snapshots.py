"""The snapshots of a backfill: of every pool at its start, and of a pool that is created later at its creation."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from protocols import folding
from protocols.registry import State
from protocols.types import Block, PoolId, PoolMetadata
from replay.backfill.node_checks import Start
from settings import Settings
from streams.kafka.records import Snapshot, SnapshotRecord, Undecodable, decode_snapshot
from streams.kafka.topic_reader import read_all
from streams.kafka.topics import topics
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.state.pinned_state import PinnedState
from streams.retry import Retries
from streams.scraper.batch_size import batch_config
from streams.scraper.snapshot_publisher import SnapshotPublisher
from streams.snapshots.contract_checks import NoState, ReadFailed
from streams.snapshots.pool_reader import Outcome, read_pools

log = logging.getLogger(__name__)

ATTEMPTS = 12
WAIT_MAX_S = 15.0


class PoolNotRead(Exception):
    def __init__(self, pool: PoolId, block: Block, reason: str) -> None:
        super().__init__(f"{pool} cannot be read at block {block.number}: {reason}")


async def read_snapshots(settings: Settings) -> list[SnapshotRecord]:
    """Those that an earlier run of the backfill has published."""
    found = []
    for record in await read_all(settings, topics(settings.chain).snapshots):
        try:
            found.append(decode_snapshot(record.value or b""))
        except Undecodable as error:
            log.warning("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, error)
    return found


class PoolSnapshots:
    def __init__(
        self,
        node: Node,
        settings: Settings,
        start: Start,
        publisher: SnapshotPublisher,
        managers: Mapping[PoolId, str | None],
    ) -> None:
        self._node = node
        self._config = batch_config(settings)
        self._start = start
        self._publisher = publisher
        self._managers = managers
        self._retries = Retries(
            "The node", (NodeUnavailable, RpcError, PoolNotRead), wait_max_s=WAIT_MAX_S, attempts=ATTEMPTS
        )
        self.without_state: dict[PoolId, PoolMetadata] = {}
        """Pools that no snapshot has shown initialised so far."""

    def load(self, pools: Iterable[PoolMetadata], published: Iterable[SnapshotRecord]) -> list[PoolMetadata]:
        """Returns the pools that are still to be read at the start."""
        self.without_state = {pool.id: pool for pool in pools}
        unread = dict(self.without_state)
        for record in published:
            if record.block == self._start.block:
                unread.pop(record.pool, None)
            if isinstance(record, Snapshot):
                self._add(record.pool, record.state)
        return list(unread.values())

    async def take(
        self, block: Block, pools: Iterable[PoolMetadata], on_taken: Callable[[int], None] = lambda _: None
    ) -> None:
        """All are published when this returns; `on_taken` is given the number of each batch.

        Raises PoolNotRead, BlockGone, NodeUnavailable, RpcError, NotPublished.
        """
        for batch in self._batches(pools):
            async for attempt in self._retries:
                with attempt:
                    outcomes = await self._read(block, batch)
                    self._retries.reset()
            await self._publisher.publish(block, outcomes)
            for pool, outcome in outcomes.items():
                self._add(pool, outcome)
            on_taken(len(batch))

    def _batches(self, pools: Iterable[PoolMetadata]) -> Iterator[Sequence[PoolMetadata]]:
        by_protocol: dict[str, list[PoolMetadata]] = {}
        for pool in pools:
            by_protocol.setdefault(pool.protocol, []).append(pool)
        for protocol, some in by_protocol.items():
            size = self._config.size(protocol)
            yield from (some[start : start + size] for start in range(0, len(some), size))

    async def _read(self, block: Block, pools: Sequence[PoolMetadata]) -> dict[PoolId, State | NoState]:
        read = await read_pools(PinnedState(self._node, block, self._start.capabilities), pools, self._managers)
        for pool, outcome in read.items():
            if isinstance(outcome, ReadFailed):
                raise PoolNotRead(pool, block, outcome.reason)
        return {pool: outcome for pool, outcome in read.items() if not isinstance(outcome, ReadFailed)}

    def _add(self, pool_id: PoolId, outcome: Outcome) -> None:
        pool = self.without_state.get(pool_id)
        if pool is None or isinstance(outcome, NoState | ReadFailed):
            return
        if folding.is_initialized(folding.from_snapshot(pool, outcome).price):
            del self.without_state[pool_id]
