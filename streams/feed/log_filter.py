"""Which logs the feed is to pass on, as the whitelist on NATS says: what is known now, changed between blocks."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing

from protocols.types import NATIVE, PoolId, PoolMetadata, ProtocolName, Token
from settings import Settings
from streams.feed.journal import FilterSet
from streams.nats.subscriber import Received, subscribe
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_state import FullList, MinimalList, apply_full, apply_minimal
from streams.node.client import Node, NodeUnavailable, RpcError
from streams.node.pool_managers import pool_manager

log = logging.getLogger(__name__)

RETRY_S = 2.0
COIN = Token(NATIVE)


class LogFilter:
    def __init__(self, node: Node, settings: Settings, restored: FilterSet | None = None) -> None:
        """`restored`: what was watched when the feed ended; it holds until a whole list is heard."""
        self.watched = restored or FilterSet()
        """Replaced as a whole, never changed."""
        self._node = node
        self._settings = settings
        self._is_restored = restored is not None
        self._minimal = MinimalList(pools=self.watched.pools)
        self._full = FullList()
        self._changed = asyncio.Event()
        self._node_failed = False

    async def listen(self) -> None:
        """Reads the lists for ever."""
        async with aclosing(subscribe(self._settings)) as messages:
            async for message in messages:
                self._read(message)

    async def resolve(self) -> None:
        """Finds the PoolManagers of what is listed, for ever; asks again for those not found."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            pools = {**self._minimal.pools, **{pool: said.protocol for pool, said in self._full.pools.items()}}
            singletons = [pool for pool, protocol in pools.items() if protocol == "v4"]
            managers = {pool: self.watched.managers[pool] for pool in singletons if pool in self.watched.managers}
            self._watch(pools, managers)
            missing = [pool for pool in singletons if pool not in managers or pool in self._full.pools]
            managers |= await self._managers(missing)
            self._watch(pools, managers)
            if len(managers) < len(singletons):
                asyncio.get_running_loop().call_later(RETRY_S, self._changed.set)

    def _read(self, message: Received) -> None:
        chain = self._settings.chain
        try:
            minimal = apply_minimal(self._minimal, message.subject, message.payload, chain)
            full = apply_full(self._full, message.subject, message.payload, chain)
        except Rejected as refused:
            log.warning("A whitelist message is refused, the last list stays: %s", refused)
            return
        for reason in {*minimal.skipped, *full.skipped}:
            log.warning("Skipped in a whitelist message: %s", reason)
        if self._is_restored and minimal.pools is self._minimal.pools and full.pools and not self._full.pools:
            minimal = MinimalList()  # a full list alone stands in the place of what was restored
        self._is_restored = self._is_restored and minimal.pools is self._minimal.pools
        self._minimal, self._full = minimal, full
        self._changed.set()

    def _watch(self, pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]) -> None:
        watched = FilterSet(dict(pools), dict(managers))
        if watched != self.watched:
            log.info("Watching %d pools; the PoolManager of %d V4 pools is known", len(pools), len(managers))
        self.watched = watched

    async def _managers(self, pools: list[PoolId]) -> dict[PoolId, str]:
        managers = {}
        for pool in pools:
            metadata = self._full.pools.get(pool) or PoolMetadata(pool, "v4", COIN, COIN)
            try:
                manager = await pool_manager(self._node, metadata, self._settings)
            except (NodeUnavailable, RpcError) as error:
                if not self._node_failed:
                    log.warning("The PoolManager of %s and others cannot be looked up now: %s", pool, error)
                self._node_failed = True
                break
            self._node_failed = False
            if manager is not None:
                managers[pool] = manager
        return managers
