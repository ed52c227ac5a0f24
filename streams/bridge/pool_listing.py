"""The list of pools on the topic `whitelist`: each pool, its first block, and the PoolManager of a V4 pool."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from protocols.registry import is_singleton
from protocols.types import PoolId, PoolMetadata, ProtocolName
from settings import Settings
from streams.bridge.metrics import LISTED
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import UNREAD, Listed, Undecodable, decode_listed, encode_record
from streams.kafka.topic_reader import read_all
from streams.kafka.topics import partition_of, topics
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.pool_managers import pool_manager

log = logging.getLogger(__name__)

MANAGER_RETRY_S = 30.0
"""Until the PoolManager of a V4 pool is looked up again where none was found."""


async def read_listed(settings: Settings) -> dict[PoolId, Listed]:
    """The list as it is on the topic."""
    listed: dict[PoolId, Listed] = {}
    for record in await read_all(settings, topics(settings.chain).whitelist):
        pool = PoolId((record.key or b"").decode(errors="replace"))
        listed.pop(pool, None)
        try:
            if record.value is not None:
                listed[pool] = decode_listed(record.value)
        except Undecodable as error:
            log.warning("%s, partition %d, offset %d: %s", record.topic, record.partition, record.offset, error)
    return listed


class PoolListing:
    """`listed` is on the topic, `target` is to be; `publish_changes`, called between blocks, makes them equal."""

    def __init__(self, node: Node, publisher: Publisher, settings: Settings, listed: Mapping[PoolId, Listed]) -> None:
        self._node = node
        self._publisher = publisher
        self._settings = settings
        self._topic = topics(settings.chain).whitelist
        self._margin = 0 if settings.bridge_verify else settings.listing_margin
        self._rejected: dict[PoolId, PoolMetadata] = {}
        self._without_manager: dict[PoolId, tuple[PoolMetadata, float]] = {}
        """And when to look it up again."""
        self.listed: dict[PoolId, Listed] = {}
        self.target = {pool: record.pool for pool, record in listed.items()}
        self.protocols: dict[PoolId, ProtocolName | None] = {}
        self.managers: dict[PoolId, str] = {}
        for record in listed.values():
            self._add(record)

    def set_target(self, pools: Mapping[PoolId, PoolMetadata]) -> None:
        self.target = dict(pools)

    async def find_managers(self) -> None:
        """Of the V4 pools listed. Raises NodeUnavailable, RpcError.

        A pool without one stays on the topic, for the node may not have synced yet, but counts from no block, because
        its logs are not read: workers that hold its state wait. It is looked up again, and counts from a new first
        block when its manager is known.
        """
        self.managers |= await self._managers_of(record.pool for record in self.listed.values())
        unread = [Listed(pool.pool, UNREAD) for pool in self.listed.values() if not self._has_manager(pool.pool)]
        await self._publish(unread, ())
        for record in unread:
            self._add(record)

    async def publish_changes(self, next_block: int) -> None:
        """The records are acknowledged before this returns, so before any block that includes the pools."""
        removed = [pool for pool in self.listed if pool not in self.target]
        changed = [pool for pool in self.target.values() if self._is_changed(pool)]
        if not removed and not changed:
            return
        unmanaged = {pool.id for pool in changed if not self._has_manager(pool)}
        try:
            self.managers |= await self._managers_of(changed)
        except (NodeUnavailable, RpcError) as error:
            log.warning("%d pools are listed once the node gives their PoolManager: %s", len(changed), error)
            self._look_up_later(changed)
        changed = [pool for pool in changed if self._has_manager(pool)]
        added = [Listed(pool, self._from_block(pool, next_block, pool.id in unmanaged)) for pool in changed]
        await self._publish(added, removed)
        for pool_id in removed:
            self._remove(pool_id)
        for record in added:
            self._add(record)
        if removed or added:
            log.info("%d pools listed and %d removed before block %d", len(added), len(removed), next_block)

    async def republish(self) -> None:
        """The whole list, so that a record lost anywhere comes again."""
        await self._publish(list(self.listed.values()), ())

    async def reject(self, pool: PoolId, reason: str) -> None:
        """Takes a pool off the list until the whitelist has other metadata for it."""
        record = self.listed.get(pool)
        if record is None:
            return
        self._rejected[pool] = record.pool
        self._remove(pool)
        await self._publish((), [pool])
        log.error("pool %s is taken off the list: %s", pool, reason)

    def _add(self, record: Listed) -> None:
        self.listed[record.pool.id] = record
        self.protocols[record.pool.id] = record.pool.protocol
        self._rejected.pop(record.pool.id, None)
        LISTED.set(len(self.listed))

    def _remove(self, pool: PoolId) -> None:
        for by_pool in (self.listed, self.protocols, self.managers):
            by_pool.pop(pool, None)
        LISTED.set(len(self.listed))

    def _is_changed(self, pool: PoolMetadata) -> bool:
        listed, rejected = self.listed.get(pool.id), self._rejected.get(pool.id)
        is_read = listed is not None and listed.from_block != UNREAD and self._has_manager(pool)
        if rejected == pool or (is_read and listed is not None and listed.pool == pool):
            return False
        without_manager, retry_at_s = self._without_manager.get(pool.id, (None, 0.0))
        return without_manager != pool or asyncio.get_running_loop().time() >= retry_at_s

    def _from_block(self, pool: PoolMetadata, next_block: int, was_unmanaged: bool) -> int:
        """Stays where only names or decimals changed, not the way its logs are read."""
        listed = self.listed.get(pool.id)
        if listed is None or was_unmanaged or listed.from_block == UNREAD:
            return next_block + self._margin
        is_read_alike = (listed.pool.protocol, listed.pool.factory) == (pool.protocol, pool.factory)
        return listed.from_block if is_read_alike else next_block + self._margin

    def _has_manager(self, pool: PoolMetadata) -> bool:
        return not is_singleton(pool.protocol) or pool.id in self.managers

    def _look_up_later(self, pools: Iterable[PoolMetadata]) -> None:
        at_s = asyncio.get_running_loop().time() + MANAGER_RETRY_S
        self._without_manager |= {pool.id: (pool, at_s) for pool in pools if not self._has_manager(pool)}

    async def _managers_of(self, pools: Iterable[PoolMetadata]) -> dict[PoolId, str]:
        found = {}
        for pool in pools:
            if not is_singleton(pool.protocol):
                continue
            manager = await pool_manager(self._node, pool, self._settings)
            if manager is None:
                if pool.id not in self._without_manager:
                    log.error(
                        "pool %s has no known PoolManager: its logs are not read; set ARENA_V4_POOL_MANAGER", pool.id
                    )
                self._look_up_later([pool])
            else:
                found[pool.id] = manager
        return found

    async def _publish(self, added: Sequence[Listed], removed: Sequence[PoolId]) -> None:
        records = [(record.pool.id, encode_record(record)) for record in added] + [(pool, None) for pool in removed]
        await self._publisher.send(
            self._topic,
            [
                Entry(partition_of(pool.encode(), self._publisher.partitions), pool.encode(), value)
                for pool, value in records
            ],
        )
