"""A made-up chain for benchmarks: pools, snapshots and blocks that the fold accepts, without a node."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from protocols.concentrated import Price, Swap
from protocols.registry import Event, State
from protocols.ticks import LiquidityChange, Ticks, changed, net_between, sqrt_ratio_at_tick
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import Sync, V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.kafka.records import Head, Header, Listed, Record, Reorg, Snapshot, Update
from streams.kafka.topics import partition_of

SPACING = 60
FARTHEST_TICK = 400 * SPACING
LIQUIDITY = 10**18
SWAP_STEP = 90
"""Ticks that a swap moves at most."""
LIQUIDITY_SHARE = 0.08
"""Of the events of pools with ticks; about as on mainnet."""


class Shape(NamedTuple):
    pools: int = 1000
    ticks: int = 200
    """Of each pool that has any."""
    events: int = 400
    """Per block."""
    touched: int = 230
    """Pools per block."""
    partitions: int = 8


class SavedPool(NamedTuple):
    price: Price
    ticks: Ticks
    minted: list[LiquidityChange]
    reserves: V2State


class PoolModel:
    """Makes events that follow from its state, as the contracts would."""

    def __init__(self, metadata: PoolMetadata, ticks: int, source: random.Random) -> None:
        self.metadata = metadata
        self._random = source
        self._price = Price(sqrt_ratio_at_tick(0), 0, 0)
        self._ticks = Ticks(SPACING, {})
        self._minted: list[LiquidityChange] = []
        self._reserves = V2State(10**21, 10**21)
        steps = source.sample(range(1, FARTHEST_TICK // SPACING), ticks // 2) if metadata.protocol != "v2" else []
        if steps:
            ends = sorted(steps)
            ranges = [LiquidityChange(-end * SPACING, end * SPACING, LIQUIDITY + end) for end in ends]
            for each in ranges:
                self._ticks = changed(self._ticks, each)
            self._price = Price(self._price.sqrt_price_x96, 0, sum(each.delta for each in ranges))

    def state(self) -> State:
        price = self._price
        if self.metadata.protocol == "v2":
            return self._reserves
        if self.metadata.protocol == "v3":
            return V3State(price.sqrt_price_x96, price.tick, price.liquidity, tuple(self._ticks))
        return V4State(price.sqrt_price_x96, price.tick, price.liquidity, tuple(self._ticks), 3000, 0)

    def served(self) -> dict[str, str | int]:
        """Its state as HTTP answers it, without fees."""
        if self.metadata.protocol == "v2":
            return {"reserve0": str(self._reserves.reserve0), "reserve1": str(self._reserves.reserve1)}
        price = self._price
        return {"sqrt_price_x96": str(price.sqrt_price_x96), "tick": price.tick, "liquidity": str(price.liquidity)}

    def event(self) -> Event:
        if self.metadata.protocol == "v2":
            self._reserves = V2State(self._random.randrange(10**20, 10**23), self._random.randrange(10**20, 10**23))
            return Sync(self._reserves.reserve0, self._reserves.reserve1)
        return self._change() if self._random.random() < LIQUIDITY_SHARE else self._swap()

    def saved(self) -> SavedPool:
        return SavedPool(self._price, self._ticks, list(self._minted), self._reserves)

    def restore(self, saved: SavedPool) -> None:
        self._price, self._ticks, self._minted = saved.price, saved.ticks, list(saved.minted)
        self._reserves = saved.reserves

    def _swap(self) -> Swap:
        old = self._price.tick
        tick = min(max(old + self._random.randint(-SWAP_STEP, SWAP_STEP), -FARTHEST_TICK), FARTHEST_TICK)
        crossed = net_between(self._ticks, old, tick) if tick >= old else -net_between(self._ticks, tick, old)
        low, high = sqrt_ratio_at_tick(tick), sqrt_ratio_at_tick(tick + 1)
        self._price = Price(self._random.randrange(low, high), tick, self._price.liquidity + crossed)
        return Swap(self._price.sqrt_price_x96, self._price.liquidity, tick)

    def _change(self) -> LiquidityChange:
        if self._minted and self._random.random() < 0.5:
            minted = self._minted.pop(self._random.randrange(len(self._minted)))
            change = LiquidityChange(minted.tick_lower, minted.tick_upper, -minted.delta)
        else:
            middle = self._price.tick // SPACING * SPACING
            lower = middle - SPACING * self._random.randint(1, 40)
            change = LiquidityChange(
                lower, middle + SPACING * self._random.randint(1, 40), self._random.randrange(10**19)
            )
            self._minted.append(change)
        self._ticks = changed(self._ticks, change)
        if change.tick_lower <= self._price.tick < change.tick_upper:
            price = self._price
            self._price = Price(price.sqrt_price_x96, price.tick, price.liquidity + change.delta)
        return change


class MadeChain:
    def __init__(self, shape: Shape, seed: int = 1) -> None:
        self.shape = shape
        self._random = random.Random(seed)
        self.pools = [self._pool(index) for index in range(shape.pools)]
        self.tip = self._header(1, 0, "0x" + "00" * 32)

    def _pool(self, index: int) -> PoolModel:
        protocol = ("v2", "v3", "v4")[index % 3]
        digits = 64 if protocol == "v4" else 40
        tokens = [Token(f"0x{self._random.getrandbits(160):040x}", 18, f"T{index}{side}") for side in "AB"]
        metadata = PoolMetadata(
            PoolId(f"0x{self._random.getrandbits(digits * 4):0{digits}x}"),
            protocol,
            tokens[0],
            tokens[1],
            fee=None if protocol == "v2" else 3000,
            tick_spacing=None if protocol == "v2" else SPACING,
            factory=f"0x{protocol[1] * 40}",
        )
        return PoolModel(metadata, self.shape.ticks, self._random)

    def _header(self, number: int, fork: int, parent: str) -> Header:
        return Header(number, f"0x{random.Random(f'{number} {fork}').getrandbits(256):064x}", parent, number)

    def listings(self) -> list[Listed]:
        return [Listed(pool.metadata, 1) for pool in self.pools]

    def snapshots(self) -> list[Snapshot]:
        """At the tip."""
        block = Block(self.tip.number, self.tip.hash)
        return [Snapshot(pool.metadata.id, block, pool.state()) for pool in self.pools]

    def heads(self) -> list[tuple[int, Record]]:
        """The tip's, for each partition: a first block without events."""
        return [(partition, Head(self.tip, 0)) for partition in range(self.shape.partitions)]

    def block(self, touched: int | None = None, fork: int = 0) -> list[tuple[int, Record]]:
        """The records of the next block by partition. `touched`: so many pools have one event each."""
        count = min(touched or self.shape.touched, len(self.pools))
        pools = self._random.sample(self.pools, count)
        extra = self._random.choices(pools, k=max(self.shape.events - count, 0)) if touched is None else []
        self.tip = self._header(self.tip.number + 1, fork, self.tip.hash)
        events: dict[PoolId, list[Event]] = {}
        for pool in [*pools, *extra]:
            events.setdefault(pool.metadata.id, []).append(pool.event())
        return list(self._records(events))

    def _records(self, events: dict[PoolId, list[Event]]) -> Iterator[tuple[int, Record]]:
        block = Block(self.tip.number, self.tip.hash)
        counts = [0] * self.shape.partitions
        for pool, happened in events.items():
            partition = partition_of(pool.encode(), self.shape.partitions)
            counts[partition] += 1
            yield partition, Update(pool, block, tuple(happened))
        yield from ((partition, Head(self.tip, count)) for partition, count in enumerate(counts))

    def save(self) -> "Saved":
        """To be reorganised back to."""
        return Saved(self.tip, [pool.saved() for pool in self.pools])

    def reorg(self, ancestor: "Saved") -> list[tuple[int, Record]]:
        """The chain and its pools are as they were at the ancestor afterwards."""
        self.tip = ancestor.tip
        for pool, saved in zip(self.pools, ancestor.pools, strict=True):
            pool.restore(saved)
        reorg = Reorg(Block(self.tip.number, self.tip.hash))
        return [(partition, reorg) for partition in range(self.shape.partitions)]


class Saved(NamedTuple):
    tip: Header
    pools: list[SavedPool]
