"""Which logs the feed emits: follows the whitelist on NATS and finds the PoolManagers of its V4 pools."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing

from protocols.registry import dex_of
from protocols.types import NATIVE, PoolId, PoolMetadata, ProtocolName, Token
from settings import Settings
from streams.feed.journal import FilterSet
from streams.nats.subscriber import Received, subscribe
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_state import FullList, MinimalList, apply_full, apply_minimal
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.pool_managers import pool_manager
from streams.retry import Retries

log = logging.getLogger(__name__)

NOT_FOUND_S = 2.0
"""A PoolManager that the node does not know yet is looked up again after this."""
NATIVE_TOKEN = Token(NATIVE)


class LogFilter:
    def __init__(self, node: Node, settings: Settings, restored: FilterSet | None = None) -> None:
        """`restored`: the filters of the process before, valid until a full list arrives."""
        self.filters = restored or FilterSet()
        """Replaced as a whole, never modified."""
        self._node = node
        self._settings = settings
        self._is_restored = restored is not None
        self._minimal = MinimalList(pools=self.filters.pools)
        self._full = FullList()
        self._changed = asyncio.Event()
        self._retries = Retries("PoolManager lookups", (NodeUnavailable, RpcError), wait_max_s=NOT_FOUND_S)

    async def follow_whitelist(self) -> None:
        """For ever."""
        async with aclosing(subscribe(self._settings)) as messages:
            async for message in messages:
                self._apply(message)

    async def resolve_pool_managers(self) -> None:
        """For ever: looks up the PoolManager of each V4 pool, again where it is not found or the list changed."""
        while True:
            await self._changed.wait()
            async for attempt in self._retries:
                with attempt:
                    self._changed.clear()
                    await self._resolve()
                    self._retries.reset()

    async def _resolve(self) -> None:
        """Sets the filters twice: what is known at once, and with what had to be looked up."""
        pools = {**self._minimal.pools, **{pool: metadata.protocol for pool, metadata in self._full.pools.items()}}
        singletons = {pool: name for pool, name in pools.items() if name is not None and dex_of(name).is_singleton}
        managers = {pool: self.filters.managers[pool] for pool in singletons if pool in self.filters.managers}
        self._set_filters(pools, managers)
        try:
            for pool, name in singletons.items():
                if pool in managers and pool not in self._full.pools:
                    continue
                manager = await self._find_pool_manager(pool, name)
                if manager is not None:
                    managers[pool] = manager
        finally:
            self._set_filters(pools, managers)
        if len(managers) < len(singletons):
            asyncio.get_running_loop().call_later(NOT_FOUND_S, self._changed.set)

    def _apply(self, message: Received) -> None:
        chain = self._settings.chain
        try:
            minimal = apply_minimal(self._minimal, message.subject, message.payload, chain)
            full = apply_full(self._full, message.subject, message.payload, chain)
        except Rejected as error:
            log.warning("a whitelist message is rejected, the last list stays: %s", error)
            return
        for reason in {*minimal.skipped, *full.skipped}:
            log.warning("a whitelist message has an entry that is skipped: %s", reason)
        if self._is_restored and minimal.pools is self._minimal.pools and full.pools and not self._full.pools:
            minimal = MinimalList()  # the publisher sends full lists only: its list replaces the restored one
        self._is_restored = self._is_restored and minimal.pools is self._minimal.pools
        self._minimal, self._full = minimal, full
        self._changed.set()

    def _set_filters(self, pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]) -> None:
        filters = FilterSet(dict(pools), dict(managers))
        if filters != self.filters:
            log.info("the filter has %d pools and the PoolManagers of %d V4 pools", len(pools), len(managers))
        self.filters = filters

    async def _find_pool_manager(self, pool: PoolId, protocol: ProtocolName) -> str | None:
        """None where the node does not know it yet. Raises NodeUnavailable, RpcError."""
        metadata = self._full.pools.get(pool) or PoolMetadata(pool, protocol, NATIVE_TOKEN, NATIVE_TOKEN)
        return await pool_manager(self._node, metadata, self._settings)
