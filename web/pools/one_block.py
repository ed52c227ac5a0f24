"""Many pools as of one block, whichever workers they are of: the newest that every partition concerned has."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from aiohttp import web

from protocols.types import Block, PoolId
from streams.kafka.topics import partition_of
from tables.views.memory import BlockRef
from web.answers import encode
from web.errors import HttpError
from web.owners.forwarding import FORWARDED, Forwarding
from web.pools.pools_at_block import Disagreement, PoolsPart, PoolsReader

ATTEMPTS = 20
RETRY_S = 0.05
"""A reorg reaches all partitions within milliseconds."""


class PartQuery(msgspec.Struct, frozen=True):
    """What one worker asks another for."""

    ids: Sequence[str]
    at: str | None
    ticks: bool


class OneBlock:
    def __init__(self, reader: PoolsReader, forwarding: Forwarding, partitions: int) -> None:
        self._reader = reader
        self._forwarding = forwarding
        self._partitions = partitions

    async def read(self, request: web.Request, ids: Sequence[PoolId], at: BlockRef | None, ticks: bool) -> PoolsPart:
        """Raises HttpError: 404 for a block that is not in memory, 503 where the partitions share none."""
        error = ""
        for _ in range(ATTEMPTS):
            try:
                return await self._read_once(request, ids, at, ticks)
            except Disagreement as disagreement:
                error = str(disagreement)
                await asyncio.sleep(RETRY_S)
        raise HttpError(503, f"there is no block that all of these pools can be answered at: {error}")

    async def _read_once(
        self, request: web.Request, ids: Sequence[PoolId], at: BlockRef | None, ticks: bool
    ) -> PoolsPart:
        by_worker = self._by_worker(request, ids)

        async def read(worker: str | None, ref: BlockRef | None) -> PoolsPart:
            if worker is None:
                return await self._reader.read(by_worker[None], ref, ticks)
            body = encode(PartQuery(by_worker[worker], None if ref is None else str(ref), ticks))
            answer = await self._forwarding.post(worker, request.path, body)
            return await asyncio.to_thread(msgspec.json.decode, answer, type=PoolsPart)

        async def read_at(worker: str | None, part: PoolsPart, block: Block) -> PoolsPart:
            if part.shared[0] == block:
                return part
            try:
                return await read(worker, block.hash)
            except HttpError as error:
                raise Disagreement(f"block {block.number} is not in memory everywhere: {error}") from error

        parts = await asyncio.gather(*(read(worker, at) for worker in by_worker))
        block = newest_shared(parts)
        joined = await asyncio.gather(
            *(read_at(worker, part, block) for worker, part in zip(by_worker, parts, strict=True))
        )
        return _merged(joined, ids)

    def _by_worker(self, request: web.Request, ids: Sequence[PoolId]) -> Mapping[str | None, list[PoolId]]:
        found: dict[str | None, list[PoolId]] = {}
        for pool_id in ids:
            index = partition_of(pool_id.encode(), self._partitions)
            worker = self._forwarding.owner(index)
            if worker is not None and FORWARDED in request.headers:
                raise HttpError(503, f"partition {index} is between two workers; ask again")
            found.setdefault(worker, []).append(pool_id)
        return found


def newest_shared(parts: Sequence[PoolsPart]) -> Block:
    """Raises Disagreement where there is none."""
    common = set(parts[0].shared).intersection(*(part.shared for part in parts[1:]))
    if not common:
        newest = sorted({part.shared[0].number for part in parts})
        raise Disagreement(f"the workers share no block; they are at {', '.join(map(str, newest))}")
    return max(common, key=lambda block: block.number)


def _merged(parts: Iterable[PoolsPart], ids: Sequence[PoolId]) -> PoolsPart:
    """In the order of the ids."""
    joined = list(parts)
    found = {pool_id: raw for part in joined for pool_id, raw in part.pools.items()}
    return PoolsPart(joined[0].envelope, joined[0].shared, {each: found[each] for each in ids if each in found})
