"""Answers about one pool: its state, its ticks, and where its state comes from."""

import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from streams.kafka.topics import partition_of
from tables.partition import Partition
from tables.pool import Pool
from tables.views.envelope import ServedChain, envelope
from tables.views.explanation import explanation
from tables.views.memory import At, BlockRef, NotInMemory, at
from tables.views.pool import ticks_view_at, view_at
from web.answers import answer_from_thread, encoded_answer, joined
from web.errors import Handler, HttpError
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.parameters import number, requested_pool

View = Callable[[Partition, Pool, At | None], msgspec.Struct]
LARGE: set[View] = {ticks_view_at}
"""Made and encoded in a thread."""


class PoolHandlers:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding, served: ServedChain, partitions: int) -> None:
        self._owned = owned
        self._forwarding = forwarding
        self._served = served
        self._partitions = partitions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/pools/{id}/", self._one(view_at)),
            web.get("/pools/{id}/ticks/", self._one(ticks_view_at)),
            web.get("/pools/{id}/explain/", self._one(lambda partition, pool, _: explanation(partition, pool))),
        ]

    def _one(self, view: View) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            pool_id = requested_pool(request)
            block = number(request, "at")
            index = partition_of(pool_id.encode(), self._partitions)
            if index not in self._owned.owned():
                return await self._forwarding.to_owner(request, index)
            partition = self._owned.require(index)
            pool = partition.pools.get(pool_id)
            if pool is None:
                raise HttpError(404, f"{pool_id} is not on the whitelist of {self._served.name}")
            found = _found(partition, pool, block)
            head = envelope(self._served, partition.chain, found.block.number if found else None, time.time())
            if found and view in LARGE:
                return await answer_from_thread(lambda: joined(head, view(partition, pool, found)))
            return encoded_answer(joined(head, view(partition, pool, found)))

        return answer


def _found(partition: Partition, pool: Pool, ref: BlockRef | None) -> At | None:
    try:
        return at(partition, pool, ref)
    except NotInMemory as unknown:
        raise HttpError(404, str(unknown), first=unknown.first, last=unknown.last) from unknown
