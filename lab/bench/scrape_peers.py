"""Whole states of pools, read as others read them: what `make bench-scrape` holds our reading against.

All use our JSON-RPC client and slot arithmetic, so that only the way of asking differs, and each is given its best: no
call that it could do without, batches as large as the node takes.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.evm import selector
from lab.devnet.reference.reader import multicall_answers, multicall_data
from protocols import v3, v4
from protocols.registry import State, dex_of
from protocols.storage import (
    Slots,
    Words,
    bitmap_words,
    mapping_slot,
    tick_of,
    ticks_in,
)
from protocols.ticks import Tick
from protocols.types import Block, PoolId
from protocols.v2 import V2State
from streams.node.client import Node
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import Call, PinnedState
from streams.snapshots.pool_reader import read_pools

CALLS_PER_REQUEST = 400
CALLS_PER_MULTICALL = 2_000
V2_RESERVES_SLOT = 8
POOLS_AT_A_TIME = 30
GAS = hex(900_000_000)
LATEST = "latest"
"""The chain stands still. anvil copies its whole state for a call that names its block otherwise, some 20 ms each."""

Scrape = Callable[["Subject", Sequence[Pool]], Awaitable[dict[PoolId, State]]]


class Subject(msgspec.Struct, frozen=True):
    node: Node
    block: Block
    multicall: str


Load = Callable[[Sequence[tuple[str, int]]], Awaitable[list[int]]]
"""Storage words: of an address, at a slot."""


class Standing(PinnedState):
    def __init__(self, node: Node, block: Block, capabilities: NodeCapabilities) -> None:
        super().__init__(node, block, capabilities)
        self._at = LATEST


async def ours(subject: Subject, pools: Sequence[Pool]) -> dict[PoolId, State]:
    pinned = Standing(subject.node, subject.block, NodeCapabilities(overrides=True, by_hash=True))
    metadata = [pool.metadata for pool in pools]
    read: dict[PoolId, State] = {}
    for protocol in ("v2", "v3", "v4"):
        some = [pool for pool in metadata if pool.protocol == protocol]
        for pool, outcome in (await read_pools(pinned, some, {each.id: each.factory for each in some})).items():
            read[pool] = _expected(outcome)
    return read


async def storage(subject: Subject, pools: Sequence[Pool]) -> dict[PoolId, State]:
    """(a): eth_getStorageAt, in batches over many pools."""

    async def load(slots: Sequence[tuple[str, int]]) -> list[int]:
        asked = [("eth_getStorageAt", [address, hex(slot), LATEST]) for address, slot in slots]
        return [int(answer, 16) for answer in await _batched(subject.node, asked)]

    return await _by_slots(load, pools)


async def naive(subject: Subject, pools: Sequence[Pool]) -> dict[PoolId, State]:
    """(c): eth_getStorageAt, a request for each slot, one after the other."""

    async def load(slots: Sequence[tuple[str, int]]) -> list[int]:
        return [int(await subject.node.call("eth_getStorageAt", [each, hex(slot), LATEST]), 16) for each, slot in slots]

    return await _by_slots(load, pools)


async def getters(subject: Subject, pools: Sequence[Pool]) -> dict[PoolId, State]:
    """(b): the contracts' getters through Uniswap's multicall."""
    read: dict[PoolId, State] = {}
    v2 = [pool for pool in pools if pool.protocol == "v2"]
    for pool, answer in zip(v2, await _multicall(subject, [_call(p, "getReserves()") for p in v2], 3), strict=True):
        read[pool.id] = V2State(answer[0], answer[1])
    for some in _groups([pool for pool in pools if pool.protocol == "v3"]):
        read |= await _getters_v3(subject, some)
    for some in _groups([pool for pool in pools if pool.protocol == "v4"]):
        read |= await _slots(some, lambda slots: _extsload(subject, slots))
    return read


async def _getters_v3(subject: Subject, pools: Sequence[Pool]) -> dict[PoolId, State]:
    words = await _multicall(subject, [_call(pool, "slot0()") for pool in pools], 7)
    liquidities = await _multicall(subject, [_call(pool, "liquidity()") for pool in pools], 1)
    places = [(pool, word) for pool in pools for word in bitmap_words(pool.tick_spacing)]
    bitmaps = await _multicall(subject, [_call(pool, "tickBitmap(int16)", word) for pool, word in places], 1)
    found = _found(places, (answer[0] for answer in bitmaps))
    ticks = await _multicall(subject, [_call(pool, "ticks(int24)", tick) for pool, tick in found], 8)
    by_pool: dict[PoolId, list[Tick]] = {pool.id: [] for pool in pools}
    for (pool, tick), (gross, net, *_) in zip(found, ticks, strict=True):
        by_pool[pool.id].append(tick_of(tick, (net % 2**128) << 128 | gross))
    return {
        pool.id: _state(pool, _slot0(word), 0, liquidity[0], by_pool[pool.id])
        for pool, word, liquidity in zip(pools, words, liquidities, strict=True)
    }


async def _by_slots(load: Load, pools: Sequence[Pool]) -> dict[PoolId, State]:
    v2 = [pool for pool in pools if pool.protocol == "v2"]
    reserves = await load([(pool.address, V2_RESERVES_SLOT) for pool in v2])
    most = 2**112
    read: dict[PoolId, State] = {
        pool.id: V2State(word % most, (word >> 112) % most) for pool, word in zip(v2, reserves, strict=True)
    }
    for some in _groups([pool for pool in pools if pool.protocol != "v2"]):
        read |= await _slots(some, load)
    return read


async def _slots(pools: Sequence[Pool], load: Load) -> dict[PoolId, State]:
    """Price and liquidity, then the bitmap, then each initialised tick; many pools side by side."""
    slots = {pool.id: v4.slots_of(pool.id) if pool.protocol == "v4" else v3.UNISWAP_SLOTS for pool in pools}
    firsts = await load([(pool.address, slot) for pool in pools for slot in _first_slots(slots[pool.id])])
    places = [(pool, word) for pool in pools for word in bitmap_words(pool.tick_spacing)]
    bitmaps = await load([(pool.address, mapping_slot(word, slots[pool.id].bitmap)) for pool, word in places])
    found = _found(places, bitmaps)
    ticks = await load([(pool.address, mapping_slot(tick, slots[pool.id].ticks)) for pool, tick in found])
    by_pool: dict[PoolId, list[Tick]] = {pool.id: [] for pool in pools}
    for (pool, tick), word in zip(found, ticks, strict=True):
        by_pool[pool.id].append(tick_of(tick, word))
    return {
        pool.id: _state(pool, firsts[3 * number], firsts[3 * number + 1], firsts[3 * number + 2], by_pool[pool.id])
        for number, pool in enumerate(pools)
    }


def _first_slots(slots: Slots) -> tuple[int, int, int]:
    return slots.price, slots.price + 1, slots.liquidity


def _found(places: Iterable[tuple[Pool, int]], bitmaps: Iterable[int]) -> list[tuple[Pool, int]]:
    pairs = zip(places, bitmaps, strict=True)
    return [(pool, tick) for (pool, word), bits in pairs for tick in ticks_in(word, bits, pool.tick_spacing)]


def _state(pool: Pool, price: int, after_price: int, liquidity: int, ticks: Sequence[Tick]) -> State:
    read = dex_of(pool.protocol).reads.state
    assert read is not None
    return read(Words(price, after_price, liquidity, tuple(ticks)))


def _slot0(answer: Sequence[int]) -> int:
    """The getter's words packed again as storage has them, with the bit that says that the pool is unlocked."""
    return answer[0] | (answer[1] % 2**24) << 160 | 1 << 240


async def _extsload(subject: Subject, slots: Sequence[tuple[str, int]]) -> list[int]:
    load = selector("extsload(bytes32)")
    calls = [(manager, load + slot.to_bytes(32, "big")) for manager, slot in slots]
    return [answer[0] for answer in await _multicall(subject, calls, 1)]


def _call(pool: Pool, signature: str, *arguments: int) -> tuple[str, bytes]:
    return pool.address, selector(signature) + b"".join(each.to_bytes(32, "big", signed=True) for each in arguments)


async def _multicall(subject: Subject, calls: Sequence[tuple[str, bytes]], answer_words: int) -> list[list[int]]:
    chunks = [calls[at : at + CALLS_PER_MULTICALL] for at in range(0, len(calls), CALLS_PER_MULTICALL)]
    answers: list[list[int]] = []
    for chunk in chunks:
        request = {"to": subject.multicall, "data": multicall_data(chunk), "gas": GAS}
        answer = await subject.node.call("eth_call", [request, LATEST])
        answers += multicall_answers(answer, len(chunk), answer_words)
    return answers


async def _batched(node: Node, calls: Sequence[Call]) -> list[Any]:
    answers: list[Any] = []
    for at in range(0, len(calls), CALLS_PER_REQUEST):
        answers += await node.batch(calls[at : at + CALLS_PER_REQUEST])
    return answers


def _groups(pools: Sequence[Pool]) -> Iterable[Sequence[Pool]]:
    return (pools[at : at + POOLS_AT_A_TIME] for at in range(0, len(pools), POOLS_AT_A_TIME))


def _expected(outcome: object) -> Any:
    if isinstance(outcome, State):
        return outcome
    raise TypeError(f"a pool could not be read: {outcome}")
