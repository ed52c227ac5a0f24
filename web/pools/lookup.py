"""The pool that a request asks for, and its state at the block that it asks for; another worker's pool is forwarded."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import ETag, web

from streams.kafka.topics import partition_of
from tables.partition import Partition
from tables.pool import Pool
from tables.views.envelope import Envelope, ServedChain, envelope
from tables.views.memory import At, NotInMemory, at
from web.errors import ErrorAnswer, Handler, HttpError
from web.freshness import check_age, etag_of
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.parameters import AT, requested_pool


class Found(NamedTuple):
    partition: Partition
    pool: Pool
    at: At | None
    """None while the pool waits."""
    envelope: Envelope

    @property
    def etag(self) -> ETag | None:
        return etag_of(self.envelope, "live" if self.at else "waiting")


Answer = Callable[[web.Request, Found], Awaitable[web.StreamResponse]]


class PoolLookup:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding, served: ServedChain, partitions: int) -> None:
        self._owned = owned
        self._forwarding = forwarding
        self._served = served
        self._partitions = partitions

    def handler(self, answer: Answer) -> Handler:
        """Of a route whose path has a pool's `{id}`; it takes `?at=` and `?max_age_s=`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            pool_id = requested_pool(request)
            block = AT.read(request)
            index = partition_of(pool_id.encode(), self._partitions)
            if index not in self._owned.owned():
                return await self._forwarding.to_owner(request, index)
            partition = self._owned.require(index)
            pool = partition.pools.get(pool_id)
            if pool is None:
                raise HttpError(404, f"{pool_id} is not on the whitelist of {self._served.name}")
            try:
                found = at(partition, pool, block)
            except NotInMemory as unknown:
                raise not_in_memory(unknown) from unknown
            of_block = envelope(self._served, partition.chain, found.block.number if found else None, time.time())
            check_age(request, of_block)
            return await answer(request, Found(partition, pool, found, of_block))

        return handle


def not_in_memory(unknown: NotInMemory) -> HttpError:
    return HttpError(404, str(unknown), ErrorAnswer(str(unknown), first=unknown.first, last=unknown.last))
