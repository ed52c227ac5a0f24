"""One worker's part of quotes for many pools: which block it has, the pools' tokens, and single swaps at that block."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from protocols.quotes.order import QuoteRefused, RefusalKind
from protocols.types import PoolId
from streams.kafka.topics import partition_of
from tables.chain import CanonicalChain
from tables.partition import Partition
from tables.pool import Pool, Reason
from tables.views.envelope import Envelope, ServedChain, envelope
from tables.views.markets import PoolMarket, Swap, market_at, quote
from tables.views.memory import At, BlockRef, NotInMemory, at, number_of, reason
from tables.views.quote import QuoteView, mid_price, quote_view
from web.errors import ErrorAnswer, HttpError
from web.owners.ownership import OwnedPartitions
from web.pools.lookup import not_in_memory
from web.quotes.refusals import refusal_answer


class Hop(msgspec.Struct, frozen=True):
    """A swap of one pool."""

    pool: PoolId
    token_in: str
    amount: str
    exact_out: bool
    price_limit: str | None = None


class HopResult(msgspec.Struct, frozen=True):
    view: QuoteView | None = None
    mid: tuple[str, str] = ("1", "1")
    """What comes out per what goes in, in smallest units, before the swap."""
    refusal: ErrorAnswer | None = None

    @property
    def ratio(self) -> tuple[int, int]:
        return int(self.mid[0]), int(self.mid[1])


class PartRequest(msgspec.Struct, frozen=True):
    """From one worker to another, about pools that the other one owns."""

    at: BlockRef | None = None
    pools: list[PoolId] = []
    hops: list[Hop] = []


class PartAnswer(msgspec.Struct, frozen=True):
    envelope: Envelope
    """Of the block that was asked for, or of the newest that all partitions concerned have."""
    tokens: dict[PoolId, tuple[str, str]]
    """Of the pools that are listed."""
    results: list[HopResult]


class _Subject(NamedTuple):
    pool: Pool
    at: At | None
    why: Reason | str | None


class LocalPart:
    def __init__(self, owned: OwnedPartitions, served: ServedChain, partitions: int) -> None:
        self._owned = owned
        self._served = served
        self._partitions = partitions

    async def answer(self, request: PartRequest) -> PartAnswer:
        """Raises HttpError: 404 for a block that is not in memory, 503 where a partition is not this worker's now."""
        pools = list(dict.fromkeys([*request.pools, *(hop.pool for hop in request.hops)]))
        indexes = {pool: partition_of(pool.encode(), self._partitions) for pool in pools}
        homes = {index: self._home(index) for index in set(indexes.values())}
        partition, number = _block(homes.values(), request.at)
        found = {pool: homes[indexes[pool]].pools.get(pool) for pool in pools}
        listed = {pool: each for pool, each in found.items() if each is not None}
        of_block = envelope(self._served, partition.chain, number, time.time())
        tokens = {pool: _tokens(each) for pool, each in listed.items()}
        if not request.hops:
            return PartAnswer(of_block, tokens, [])
        subjects = {pool: _subject(homes[indexes[pool]], each, number) for pool, each in listed.items()}
        results = await asyncio.to_thread(_results, request.hops, subjects)
        return PartAnswer(of_block, tokens, results)

    def _home(self, index: int) -> Partition:
        if index not in self._owned.owned():
            raise HttpError(503, f"partition {index} is between two workers; ask again")
        return self._owned.require(index)


def _block(partitions: Iterable[Partition], ref: BlockRef | None) -> tuple[Partition, int]:
    """The partition that is furthest behind, and the block's number. Raises HttpError."""
    homes = list(partitions)
    if any(home.chain.head is None for home in homes):
        raise HttpError(503, "no block has come yet for one of the partitions concerned; ask again")
    try:
        numbered = [(_number(home.chain, ref), home) for home in homes]
        number, lowest = min(numbered, key=lambda each: each[0])
        for home in homes:
            _check_memory(home.chain, number)
    except NotInMemory as unknown:
        raise not_in_memory(unknown) from unknown
    return lowest, number


def _number(chain: CanonicalChain, ref: BlockRef | None) -> int:
    return chain.heads[-1].number if ref is None else number_of(chain, ref, chain.heads[0].number)


def _check_memory(chain: CanonicalChain, number: int) -> None:
    if chain.hash_at(number) is None:
        first, last = chain.heads[0].number, chain.heads[-1].number
        raise NotInMemory(number, first, last, f"in memory are blocks {first} to {last}")


def _tokens(pool: Pool) -> tuple[str, str]:
    metadata = pool.listed.pool
    return metadata.token0.address, metadata.token1.address


def _subject(partition: Partition, pool: Pool, number: int) -> _Subject:
    try:
        return _Subject(pool, at(partition, pool, number), reason(partition, pool))
    except NotInMemory as unknown:
        return _Subject(pool, None, reason(partition, pool) or str(unknown))


def _results(hops: Sequence[Hop], subjects: Mapping[PoolId, _Subject]) -> list[HopResult]:
    """Reads immutable values only: it runs in a thread."""
    markets: dict[PoolId, PoolMarket | QuoteRefused] = {}
    return [_result(hop, subjects.get(hop.pool), markets) for hop in hops]


def _result(hop: Hop, subject: _Subject | None, markets: dict[PoolId, PoolMarket | QuoteRefused]) -> HopResult:
    if subject is None:
        return HopResult(refusal=ErrorAnswer(f"{hop.pool} is not on the whitelist", reason=RefusalKind.UNKNOWN_POOL))
    if hop.pool not in markets:
        markets[hop.pool] = _market(subject)
    of = markets[hop.pool]
    if isinstance(of, QuoteRefused):
        return HopResult(refusal=refusal_answer(of))
    limit = None if hop.price_limit is None else int(hop.price_limit)
    try:
        found = quote(of, Swap(hop.token_in, int(hop.amount), hop.exact_out, limit))
    except QuoteRefused as refused:
        return HopResult(refusal=refusal_answer(refused))
    out, into = mid_price(of.pool, found)
    return HopResult(quote_view(of.pool, found, of.fees), (str(out), str(into)))


def _market(subject: _Subject) -> PoolMarket | QuoteRefused:
    try:
        return market_at(subject.pool, subject.at, subject.why)
    except QuoteRefused as refused:
        return refused
