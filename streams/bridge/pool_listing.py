"""The list of pools as the topic `whitelist` has it: which pools, since which block, and who emits a V4 pool's logs."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from protocols.types import PoolId, PoolMetadata, ProtocolName
from settings import Settings
from streams.bridge.metrics import LISTED
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import Listed, Undecodable, decode_listed, encode_record
from streams.kafka.topic_reader import read_all
from streams.kafka.topics import partition_of, topics
from streams.node.client import Node, NodeUnavailable, RpcError
from streams.node.pool_managers import pool_manager

log = logging.getLogger(__name__)

ASK_AGAIN_S = 30.0
"""For the PoolManager of a V4 pool that nobody knew."""


async def recorded(settings: Settings) -> dict[PoolId, Listed]:
    """The list as it stands on the topic."""
    held: dict[PoolId, Listed] = {}
    for record in await read_all(settings, topics(settings.chain).whitelist):
        pool = PoolId((record.key or b"").decode(errors="replace"))
        held.pop(pool, None)
        try:
            if record.value is not None:
                held[pool] = decode_listed(record.value)
        except Undecodable as error:
            log.warning("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, error)
    return held


class Listing:
    """What is held and what is wanted; `settle`, called between blocks, makes them the same."""

    def __init__(self, node: Node, publisher: Publisher, settings: Settings, held: Mapping[PoolId, Listed]) -> None:
        self._node = node
        self._publisher = publisher
        self._settings = settings
        self._topic = topics(settings.chain).whitelist
        self._margin = 0 if settings.bridge_verify else settings.listing_margin
        self._refused: dict[PoolId, PoolMetadata] = {}
        self._unplaced: dict[PoolId, tuple[PoolMetadata, float]] = {}
        """And when to ask again."""
        self.held: dict[PoolId, Listed] = {}
        self.wanted = {pool: record.pool for pool, record in held.items()}
        self.protocols: dict[PoolId, ProtocolName | None] = {}
        self.managers: dict[PoolId, str] = {}
        for record in held.values():
            self._hold(record)

    def want(self, pools: Mapping[PoolId, PoolMetadata]) -> None:
        self.wanted = dict(pools)

    async def place(self) -> None:
        """Finds who emits the logs of the V4 pools held. Raises NodeUnavailable, RpcError."""
        self.managers |= await self._found(record.pool for record in self.held.values())
        for pool in [pool for pool, record in self.held.items() if not self._is_placed(record.pool)]:
            await self.refuse(pool, "no PoolManager is known for it")

    async def settle(self, next_block: int) -> None:
        """The records are acknowledged before this returns, so before any block that includes the pools."""
        removed = [pool for pool in self.held if pool not in self.wanted]
        changed = [pool for pool in self.wanted.values() if self._is_news(pool)]
        if not removed and not changed:
            return
        try:
            self.managers |= await self._found(changed)
        except (NodeUnavailable, RpcError) as error:
            log.warning("%d pools are listed once the node tells their PoolManager: %s", len(changed), error)
            changed = [pool for pool in changed if pool.protocol != "v4"]
        added = [Listed(pool, self._from_block(pool, next_block)) for pool in changed if self._is_placed(pool)]
        await self._say(added, removed)
        for pool_id in removed:
            self._drop(pool_id)
        for record in added:
            self._hold(record)
        if removed or added:
            log.info("%d pools listed and %d removed before block %d", len(added), len(removed), next_block)

    async def repeat(self) -> None:
        """Says the whole list again, so that a record lost anywhere heals."""
        await self._say(list(self.held.values()), ())

    async def refuse(self, pool: PoolId, reason: str) -> None:
        """Takes a pool off the list until the list says something else of it."""
        record = self.held.get(pool)
        if record is None:
            return
        self._refused[pool] = record.pool
        self._drop(pool)
        await self._say((), [pool])
        log.error("pool %s is taken off the list: %s", pool, reason)

    def _hold(self, record: Listed) -> None:
        self.held[record.pool.id] = record
        self.protocols[record.pool.id] = record.pool.protocol
        self._refused.pop(record.pool.id, None)
        LISTED.set(len(self.held))

    def _drop(self, pool: PoolId) -> None:
        for kept in (self.held, self.protocols, self.managers):
            kept.pop(pool, None)
        LISTED.set(len(self.held))

    def _is_news(self, pool: PoolMetadata) -> bool:
        held, refused = self.held.get(pool.id), self._refused.get(pool.id)
        unplaced, ask_again_s = self._unplaced.get(pool.id, (None, 0.0))
        is_known = refused == pool or (held is not None and held.pool == pool)
        return not is_known and (unplaced != pool or asyncio.get_running_loop().time() >= ask_again_s)

    def _from_block(self, pool: PoolMetadata, next_block: int) -> int:
        """Unchanged where only what is said of the pool changed, not how its logs are read."""
        held = self.held.get(pool.id)
        if held is not None and (held.pool.protocol, held.pool.factory) == (pool.protocol, pool.factory):
            return held.from_block
        return next_block + self._margin

    def _is_placed(self, pool: PoolMetadata) -> bool:
        return pool.protocol != "v4" or pool.id in self.managers

    async def _found(self, pools: Iterable[PoolMetadata]) -> dict[PoolId, str]:
        found = {}
        for pool in pools:
            if pool.protocol != "v4":
                continue
            manager = await pool_manager(self._node, pool, self._settings)
            if manager is None:
                self._unplaced[pool.id] = (pool, asyncio.get_running_loop().time() + ASK_AGAIN_S)
                log.error("pool %s is not listed: no PoolManager is known; set ARENA_V4_POOL_MANAGER", pool.id)
            else:
                found[pool.id] = manager
        return found

    async def _say(self, added: Sequence[Listed], removed: Sequence[PoolId]) -> None:
        records = [(record.pool.id, encode_record(record)) for record in added] + [(pool, None) for pool in removed]
        await self._publisher.send(
            self._topic,
            [
                Entry(partition_of(pool.encode(), self._publisher.partitions), pool.encode(), value)
                for pool, value in records
            ],
        )
