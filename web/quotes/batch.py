"""POST /quote: many quotes as of one block, gathered from the workers that own the pools.

All workers concerned say which block they have; then each hop of the paths is one round of swaps at the hash of the
lowest.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from protocols.types import PoolId
from streams.kafka.topics import partition_of
from tables.views.envelope import Envelope
from tables.views.memory import BlockRef
from tables.views.quote import PathQuoteView
from web.answers import answer_from_thread, encode, joined
from web.errors import HttpError
from web.freshness import check_age
from web.owners.forwarding import FORWARDED, Forwarding
from web.parameters import MAX_AGE_S, decoded_body, parse_block
from web.pools.one_block import ATTEMPTS, RETRY_S
from web.pools.pools_at_block import Disagreement
from web.quotes.orders import Path, QuotesRequest, QuotesView, read_order
from web.quotes.parts import Hop, HopResult, LocalPart, PartAnswer, PartRequest
from web.quotes.progress import PathProgress
from web.route_table import Route


class BatchHandlers:
    def __init__(self, local: LocalPart, forwarding: Forwarding, partitions: int) -> None:
        self._local = local
        self._forwarding = forwarding
        self._partitions = partitions

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/quote",
                self._quotes,
                "Many quotes, of single pools or along paths, all as of one block",
                [QuotesView],
                parts=[PathQuoteView],
                parameters=[MAX_AGE_S],
                body=QuotesRequest,
                has_envelope=True,
                errors=[400, 404, 503],
            )
        ]

    async def _quotes(self, request: web.Request) -> web.StreamResponse:
        if FORWARDED in request.headers:
            part = await self._local.answer(await decoded_body(request, PartRequest))
            return await answer_from_thread(lambda: encode(part))
        wanted = await decoded_body(request, QuotesRequest)
        paths = [read_order(order) for order in wanted.quotes]
        at = None if wanted.at is None else parse_block("at", str(wanted.at))
        of_block, answers = await self._answers(paths, at)
        check_age(request, of_block)
        return await answer_from_thread(
            lambda: joined(of_block, QuotesView([msgspec.Raw(encode(answer)) for answer in answers]))
        )

    async def _answers(self, paths: Sequence[Path], at: BlockRef | None) -> tuple[Envelope, list[object]]:
        """Starts anew where a reorg takes the block away meanwhile. Raises HttpError."""
        pools = list(dict.fromkeys(pool for path in paths for pool in path.pools))
        error = ""
        for _ in range(ATTEMPTS):
            of_block, tokens = await self._agreed(pools, at)
            assert of_block.block is not None
            try:
                return of_block, await self._walked(paths, tokens, of_block.block.hash)
            except Disagreement as disagreement:
                error = str(disagreement)
                await asyncio.sleep(RETRY_S)
        raise HttpError(503, f"there is no block that all of these pools can be quoted at: {error}")

    async def _agreed(
        self, pools: Sequence[PoolId], at: BlockRef | None
    ) -> tuple[Envelope, dict[PoolId, tuple[str, str]]]:
        """The newest block that all workers concerned have, and the tokens of listed pools. Raises HttpError."""
        requests = {
            worker: PartRequest(at, [pools[number] for number in numbers])
            for worker, numbers in self._by_worker(pools).items()
        }
        parts = await self._ask(requests)
        lowest = min((part.envelope for part in parts.values()), key=_number)
        tokens = {pool: pair for part in parts.values() for pool, pair in part.tokens.items()}
        return lowest, tokens

    async def _walked(
        self, paths: Sequence[Path], tokens: Mapping[PoolId, tuple[str, str]], block_hash: str
    ) -> list[object]:
        walks = [PathProgress(path, tokens) for path in paths]
        while waiting := [walk for walk in walks if walk.hop is not None]:
            hops = [walk.hop for walk in waiting if walk.hop is not None]
            for walk, result in zip(waiting, await self._swapped(hops, block_hash), strict=True):
                walk.take(result)
        return [walk.answer for walk in walks]

    async def _swapped(self, hops: Sequence[Hop], block_hash: str) -> list[HopResult]:
        """In the order of the hops. Raises Disagreement where the block is gone."""
        by_worker = self._by_worker([hop.pool for hop in hops])
        requests = {
            worker: PartRequest(block_hash, [], [hops[number] for number in numbers])
            for worker, numbers in by_worker.items()
        }
        results: dict[int, HopResult] = {}
        try:
            parts = await self._ask(requests)
        except HttpError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise Disagreement(str(error)) from error
            raise
        for worker, part in parts.items():
            results |= zip(by_worker[worker], part.results, strict=True)
        return [results[number] for number in range(len(hops))]

    def _by_worker(self, pools: Sequence[PoolId]) -> dict[str | None, list[int]]:
        """Which of the pools are whose, by their numbers; None stands for this worker."""
        found: dict[str | None, list[int]] = {}
        for number, pool in enumerate(pools):
            worker = self._forwarding.owner(partition_of(pool.encode(), self._partitions))
            found.setdefault(worker, []).append(number)
        return found

    async def _ask(self, requests: Mapping[str | None, PartRequest]) -> dict[str | None, PartAnswer]:
        """Raises HttpError where one of them cannot answer."""
        answers = await asyncio.gather(*(self._part(worker, each) for worker, each in requests.items()))
        return dict(zip(requests, answers, strict=True))

    async def _part(self, worker: str | None, request: PartRequest) -> PartAnswer:
        if worker is None:
            return await self._local.answer(request)
        return msgspec.json.decode(await self._forwarding.post(worker, "/quote", encode(request)), type=PartAnswer)


def _number(envelope: Envelope) -> int:
    assert envelope.block is not None
    return envelope.block.number
