"""This worker's part of an answer about many pools: all as of one block that their partitions share."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from protocols.types import Block, PoolId
from streams.kafka.topics import partition_of
from tables.partition import Partition
from tables.views.common_block import shared_blocks
from tables.views.envelope import Envelope, ServedChain, envelope
from tables.views.memory import At, BlockRef, NotInMemory
from tables.views.pool import PoolView, as_of, with_ticks
from web.answers import encode
from web.errors import HttpError
from web.owners.ownership import OwnedPartitions
from web.pools.lookup import not_in_memory

POOLS_PER_TURN = 100
"""Of the event loop."""


class Disagreement(Exception):
    """The partitions share no block at the moment, as in the middle of a reorg."""


class PoolsPart(msgspec.Struct, frozen=True):
    envelope: Envelope
    shared: list[Block]
    """In memory of every partition concerned, the newest first; the answer is as of the first."""
    pools: dict[str, msgspec.Raw]
    """By id, those that are on the whitelist."""


class PoolsReader:
    def __init__(self, owned: OwnedPartitions, served: ServedChain, partitions: int) -> None:
        self._owned = owned
        self._served = served
        self._partitions = partitions

    async def read(self, ids: Sequence[PoolId], at: BlockRef | None, ticks: bool) -> PoolsPart:
        """Raises HttpError, Disagreement."""
        homes = {pool_id: partition_of(pool_id.encode(), self._partitions) for pool_id in ids}
        partitions = {index: self._owned.require(index) for index in set(homes.values())}
        shared = _shared(list(partitions.values()), at)
        chain = next(iter(partitions.values())).chain
        of_block = envelope(self._served, chain, shared[0].number, time.time())
        found: dict[str, Found] = {}
        for start in range(0, len(ids), POOLS_PER_TURN):
            for pool_id in ids[start : start + POOLS_PER_TURN]:
                partition = partitions[homes[pool_id]]
                if not partition.chain.has(shared[0]):
                    raise Disagreement(f"block {shared[0].number} was reorganised away while it was read")
                if pool := partition.pools.get(pool_id):
                    found[pool_id] = Found(*as_of(partition, pool, shared[0].number))
            await asyncio.sleep(0)
        return PoolsPart(of_block, shared, await asyncio.to_thread(_encoded, found, ticks))


class Found(NamedTuple):
    view: PoolView
    at: At | None


def _shared(partitions: Sequence[Partition], at: BlockRef | None) -> list[Block]:
    try:
        shared = shared_blocks([partition.chain for partition in partitions], at)
    except NotInMemory as unknown:
        if at is None:
            raise HttpError(503, str(unknown)) from unknown
        raise not_in_memory(unknown) from unknown
    if not shared:
        raise Disagreement("the partitions are on different forks")
    return shared


def _encoded(found: dict[str, Found], ticks: bool) -> dict[str, msgspec.Raw]:
    if not ticks:
        return {pool_id: msgspec.Raw(encode(each.view)) for pool_id, each in found.items()}
    return {pool_id: msgspec.Raw(encode(with_ticks(each.view, each.at))) for pool_id, each in found.items()}
