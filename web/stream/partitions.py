"""Between workers: a partition's pools as its owner has them, where a stream begins; and the ticks at a block."""

import asyncio
from collections.abc import Iterator
from copy import copy

import msgspec
from aiohttp import web

from protocols.types import PoolId, pool_id
from streams.kafka.records import Header
from tables.partition import Partition
from tables.views.memory import NotInMemory, at
from tables.views.pool import pool_view, ticks_view_at
from web.answers import answer_from_thread, encode
from web.errors import HttpError
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions

PATH = "/stream/partitions/"


class PartitionPools(msgspec.Struct, frozen=True):
    head: Header | None
    pools: list[msgspec.Raw]
    """As `GET /pools/{id}/` answers, without the envelope."""


class PartitionTicks(msgspec.Struct, frozen=True):
    """Of the pools that are live at a block."""

    ticks: dict[PoolId, msgspec.Raw]


class PartitionHandlers:
    def __init__(self, owned: OwnedPartitions, forwarding: Forwarding) -> None:
        self._owned = owned
        self._forwarding = forwarding

    def routes(self) -> list[web.RouteDef]:
        """Not of the interface for other programs."""
        return [
            web.get(PATH + "{index:[0-9]{1,9}}/", self._pools),
            web.get(PATH + "{index:[0-9]{1,9}}/ticks/", self._ticks),
        ]

    async def _pools(self, request: web.Request) -> web.StreamResponse:
        frozen = self._frozen(int(request.match_info["index"]))
        return await answer_from_thread(lambda: encode(pools_of(frozen)))

    async def _ticks(self, request: web.Request) -> web.StreamResponse:
        frozen, query = self._frozen(int(request.match_info["index"])), request.query
        wanted = [found for text in query.get("pools", "").split(",") if (found := pool_id(text))]
        return await answer_from_thread(lambda: encode(ticks_of(frozen, query.get("at", ""), wanted)))

    def _frozen(self, index: int) -> Partition:
        """As it is now, for a thread. Raises HttpError."""
        if index not in self._owned.owned():
            raise HttpError(503, f"this worker does not own partition {index}")
        return frozen(self._owned.require(index))

    async def pools(self, index: int) -> PartitionPools:
        """From the owner. Raises HttpError."""
        owner = self._forwarding.owner(index)
        if owner is None:
            return await asyncio.to_thread(pools_of, frozen(self._owned.require(index)))
        body = await self._forwarding.get(owner, f"{PATH}{index}/")
        return await asyncio.to_thread(msgspec.json.decode, body, type=PartitionPools)

    async def ticks(self, index: int, block_hash: str, pools: list[PoolId]) -> PartitionTicks:
        """At that block, from the owner. Raises HttpError."""
        owner = self._forwarding.owner(index)
        if owner is None:
            return await asyncio.to_thread(ticks_of, frozen(self._owned.require(index)), block_hash, pools)
        path = f"{PATH}{index}/ticks/?at={block_hash}&pools={','.join(pools)}"
        body = await self._forwarding.get(owner, path)
        return await asyncio.to_thread(msgspec.json.decode, body, type=PartitionTicks)


def frozen(partition: Partition) -> Partition:
    """Pools and chain are immutable; the dicts of them are not."""
    now = copy(partition)
    now.pools, now.ahead = dict(partition.pools), dict(partition.ahead)
    return now


def pools_of(partition: Partition) -> PartitionPools:
    views = [msgspec.Raw(encode(pool_view(partition, pool))) for pool in partition.pools.values()]
    return PartitionPools(partition.chain.head, views)


def ticks_of(partition: Partition, block_hash: str, wanted: list[PoolId]) -> PartitionTicks:
    return PartitionTicks(dict(_ticks(partition, block_hash, wanted)))


def _ticks(partition: Partition, block_hash: str, wanted: list[PoolId]) -> Iterator[tuple[PoolId, msgspec.Raw]]:
    for pool_id_ in wanted:
        if pool := partition.pools.get(pool_id_):
            try:
                found = at(partition, pool, block_hash)
            except NotInMemory:
                continue
            yield pool_id_, msgspec.Raw(encode(ticks_view_at(partition, pool, found).ticks))
