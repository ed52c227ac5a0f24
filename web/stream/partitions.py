"""Between workers: a partition's pools as its owner has them, where a stream begins; and the ticks at a block."""

import asyncio
from collections.abc import Iterator
from copy import copy

import msgspec
from aiohttp import web

from protocols.types import PoolId, pool_id
from streams.kafka.records import Header
from tables.live import Live
from tables.partition import Partition
from tables.pool import Pool
from tables.views.envelope import header_at
from tables.views.memory import NotInMemory, at
from tables.views.pool import PoolView, pool_view, ticks_view_at, view_at
from web.answers import answer_from_thread, encode
from web.errors import HttpError
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions
from web.parameters import parse_number
from web.route_table import Parameter

PATH = "/stream/partitions/"
SINCE = Parameter("since", {"type": "integer"}, "A block.", parse_number)


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
        frozen, since = self._frozen(int(request.match_info["index"])), SINCE.read(request)
        return await answer_from_thread(lambda: encode(pools_of(frozen, since)))

    async def _ticks(self, request: web.Request) -> web.StreamResponse:
        frozen, query = self._frozen(int(request.match_info["index"])), request.query
        wanted = [found for text in query.get("pools", "").split(",") if (found := pool_id(text))]
        return await answer_from_thread(lambda: encode(ticks_of(frozen, query.get("at", ""), wanted)))

    def _frozen(self, index: int) -> Partition:
        """As it is now, for a thread. Raises HttpError."""
        if index not in self._owned.owned():
            raise HttpError(503, f"this worker does not own partition {index}")
        return frozen(self._owned.require(index))

    async def pools(self, index: int, since: int | None) -> PartitionPools:
        """From the owner, as of that block or the oldest after it; at its head for None. Raises HttpError."""
        owner = self._forwarding.owner(index)
        if owner is None:
            return await asyncio.to_thread(pools_of, frozen(self._owned.require(index)), since)
        body = await self._forwarding.get(owner, f"{PATH}{index}/" + (f"?since={since}" if since is not None else ""))
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


def pools_of(partition: Partition, since: int | None) -> PartitionPools:
    """As of that block, or of the oldest after it that all pools remember; at the head for None."""
    number = _remembered(partition, since)
    views = [msgspec.Raw(encode(_view_at(partition, pool, number))) for pool in partition.pools.values()]
    head = partition.chain.head if number is None else header_at(partition.chain, number)
    return PartitionPools(head, views)


def _remembered(partition: Partition, since: int | None) -> int | None:
    head, heads = partition.chain.head, partition.chain.heads
    if since is None or head is None:
        return None
    return min(head.number, max(since, heads[0].number, head.number - partition.memory_blocks))


def _view_at(partition: Partition, pool: Pool, number: int | None) -> PoolView:
    """A pool that was not live then, or whose snapshot is of a later block, is one that waits."""
    if number is None:
        return pool_view(partition, pool)
    try:
        found = at(partition, pool, number)
    except NotInMemory:
        return view_at(partition, pool, None)
    view = view_at(partition, pool, found)
    if found is None:
        return view
    verified = view.verified_block if (view.verified_block or 0) <= number else None
    return msgspec.structs.replace(
        view, last_event_block=_last_event(found.live, view.last_event_block, number), verified_block=verified
    )


def _last_event(live: Live, last: int | None, number: int) -> int | None:
    """The newest block with events at or before that one."""
    if last is None or last <= number:
        return last
    before = [applied.block.number for applied in live.recent if applied.block.number <= number]
    if before:
        return before[-1]
    return None if live.base.block == live.reference else live.base.block.number


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
