"""Reference model: a chain that forks and its pools, as positions in a dict with all else recomputed from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import NamedTuple

from protocols.concentrated import Initialize, Price, ProtocolFeeUpdate, Swap
from protocols.dex import PoolState
from protocols.registry import Event, PriceState, State
from protocols.ticks import MAX_TICK, MIN_TICK, LiquidityChange, Tick, from_ticks, sqrt_ratio_at_tick
from protocols.types import Block, PoolId, PoolMetadata, ProtocolName, Token
from protocols.v2 import Sync, V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.kafka.records import Gap, Head, Header, Listed, Reorg, Snapshot, SnapshotRecord, Unreadable, Update
from tables.chain import UndecodableUpdate

ChainItem = Update | Head | Reorg | Gap | UndecodableUpdate
WhitelistItem = tuple[PoolId, Listed | None]
TOKEN = Token("0x" + "11" * 20)
LP_FEE = 3000
CHAIN_ID = 31337


def metadata(index: int, protocol: ProtocolName, spacing: int = 60) -> PoolMetadata:
    pool = PoolId(f"0x{index + 1:0{64 if protocol == 'v4' else 40}x}")
    return PoolMetadata(pool, protocol, TOKEN, TOKEN, tick_spacing=None if protocol == "v2" else spacing)


@dataclass(frozen=True)
class Naive:
    """A pool at the end of a block."""

    pool: PoolMetadata
    reserves: tuple[int, int] = (0, 0)
    sqrt_price_x96: int = 0
    tick: int = 0
    protocol_fee: int = 0
    """Of a V4 pool."""
    positions: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def liquidity(self) -> int:
        return sum(amount for (lower, upper), amount in self.positions.items() if lower <= self.tick < upper)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        ends = sorted({end for range_, amount in self.positions.items() if amount for end in range_})
        return tuple(
            Tick(
                end,
                sum(amount for range_, amount in self.positions.items() if end in range_),
                sum(amount * ((end == lower) - (end == upper)) for (lower, upper), amount in self.positions.items()),
            )
            for end in ends
        )

    @property
    def initialized(self) -> bool:
        return self.pool.protocol == "v2" or self.sqrt_price_x96 > 0

    @property
    def state(self) -> State:
        if self.pool.protocol == "v2":
            return V2State(*self.reserves)
        if self.pool.protocol == "v3":
            return V3State(self.sqrt_price_x96, self.tick, self.liquidity, self.ticks)
        return V4State(self.sqrt_price_x96, self.tick, self.liquidity, self.ticks, LP_FEE, self.protocol_fee)

    @property
    def whole(self) -> PoolState:
        price: PriceState = V2State(*self.reserves)
        if self.pool.protocol != "v2":
            price = Price(self.sqrt_price_x96, self.tick, self.liquidity)
        return PoolState(price, from_ticks(self.pool.tick_spacing or 1, self.ticks))


def something(random: Random, naive: Naive) -> tuple[Event, Naive]:
    """One thing that can happen to a pool, and the pool after it."""
    if naive.pool.protocol == "v2":
        reserves = random.randrange(1 << 112), random.randrange(1 << 112)
        return Sync(*reserves), replace(naive, reserves=reserves)
    if not naive.sqrt_price_x96:
        tick, price = some_price(random, naive)
        return Initialize(price, tick), replace(naive, sqrt_price_x96=price, tick=tick)
    if naive.pool.protocol == "v4" and random.random() < 0.1:
        protocol_fee = random.randrange(1 << 24)
        return ProtocolFeeUpdate(protocol_fee), replace(naive, protocol_fee=protocol_fee)
    if random.random() < 0.4:
        tick, price = some_price(random, naive)
        swapped = replace(naive, sqrt_price_x96=price, tick=tick)
        return Swap(price, swapped.liquidity, tick), swapped
    return some_change(random, naive)


def some_price(random: Random, naive: Naive) -> tuple[int, int]:
    """A tick and a price of it: inside, at its lower end, or at its upper end, as a crossing downwards leaves it."""
    spacing = naive.pool.tick_spacing or 1
    ends = [end for range_ in naive.positions for end in range_] or [0]
    near = random.choice(ends) + random.choice([-spacing, -1, 0, 1, random.randint(-3, 3) * spacing])
    tick = min(max(near, MIN_TICK), MAX_TICK - 1)
    low, high = sqrt_ratio_at_tick(tick), sqrt_ratio_at_tick(tick + 1)
    return tick, random.choice([low, high, random.randint(low, high)])


def some_change(random: Random, naive: Naive) -> tuple[Event, Naive]:
    if naive.positions and random.random() < 0.5:
        range_ = random.choice(list(naive.positions))
        held = naive.positions[range_]
        delta = random.choice([-held, -held, -random.randint(0, held), 0])
    else:
        range_ = some_range(random, naive.pool.tick_spacing or 1)
        delta = random.choice([1, random.randrange(1 << 100)])
    positions = {**naive.positions, range_: naive.positions.get(range_, 0) + delta}
    left = {each: amount for each, amount in positions.items() if amount}
    return LiquidityChange(*range_, delta), replace(naive, positions=left)


def some_range(random: Random, spacing: int) -> tuple[int, int]:
    """Few ticks, so that they meet; in several bitmap words, so that a change touches several rows."""
    ends = [near + 256 * word for near in (-2, -1, 0, 1, 2) for word in (-1, 0, 1)]
    if random.random() < 0.1:
        return -(-MIN_TICK // spacing) * spacing, MAX_TICK // spacing * spacing
    lower, upper = sorted(random.sample(ends, 2))
    return lower * spacing, upper * spacing


@dataclass(frozen=True)
class Node:
    header: Header
    parent: "Node | None"
    events: dict[PoolId, tuple[Event, ...]]
    pools: dict[PoolId, Naive]

    @property
    def block(self) -> Block:
        return Block(self.header.number, self.header.hash)


class Plan(NamedTuple):
    """How much of what a world has."""

    steps: int = 25
    deepest: int = 10
    faults: bool = True
    """Records are lost, cut, undecodable or doubled, and blocks are skipped by a Gap."""


class World:
    """The three topics of one partition as a bridge, a publisher and a scraper would have written them."""

    def __init__(self, random: Random, plan: Plan) -> None:
        self.random, self.plan = random, plan
        kinds: list[ProtocolName] = random.sample(["v2", "v3", "v3", "v4"], random.randint(1, 3))
        pools = [metadata(index, kind, random.choice([1, 10, 60, 200])) for index, kind in enumerate(kinds)]
        self.listed_from = {pool.id: random.choice([0, random.randint(0, plan.steps)]) for pool in pools}
        self.children: dict[str, list[Node]] = {}
        self.nodes: dict[str, Node] = {}
        self._hashes: Iterator[int] = count(1)
        first = self._node(None, {pool.id: Naive(pool) for pool in pools}, random.randint(0, 3))
        self.path = [first]
        self.chain: list[ChainItem] = []
        self.whitelist = [item for pool in pools for item in self._listings(pool)]
        self._grow()
        self.snapshots = sorted(
            (self._snapshot(pool) for pool in pools for _ in range(random.randint(0, plan.steps // 3))),
            key=lambda each: each.block.number + random.randint(-6, 6),
        )

    def _node(self, parent: Node | None, pools: dict[PoolId, Naive], number: int) -> Node:
        events: dict[PoolId, tuple[Event, ...]] = {}
        for pool, naive in list(pools.items()):
            happened: list[Event] = []
            for _ in range(self.random.choice([0, 0, 1, 2, 5])):
                event, pools[pool] = something(self.random, pools[pool])
                happened.append(event)
            if happened:
                events[pool] = tuple(happened)
            assert naive.pool.id == pool
        header = Header(
            number, f"0x{next(self._hashes):064x}", parent.header.hash if parent else "0x" + "0" * 64, number
        )
        node = Node(header, parent, events, pools)
        self.nodes[header.hash] = node
        if parent:
            self.children.setdefault(parent.header.hash, []).append(node)
        return node

    def _grow(self) -> None:
        random = self.random
        self._emit(self.path[0], lossy=False)
        for _ in range(self.plan.steps):
            what = random.random()
            if what < 0.6:
                self.extend()
            elif what < 0.75:
                self._reorg()
            elif self.plan.faults:
                random.choice([self._gap, self._stray, self._again, self._lossy, self._lossy])()
        listed_from = max(listed.from_block for _, listed in self.whitelist if listed)
        for _ in range(max(random.randint(2, 4), listed_from - self.tip.block.number)):
            self.extend()

    def _next(self) -> Node:
        """Often a block that was there before: chains reorganise away and back."""
        tip = self.path[-1]
        known = self.children.get(tip.header.hash, [])
        if known and self.random.random() < 0.3:
            return self.random.choice(known)
        return self._node(tip, dict(tip.pools), tip.header.number + 1)

    def extend(self, lossy: bool = False) -> None:
        node = self._next()
        self.path.append(node)
        self._emit(node, lossy)

    def _lossy(self) -> None:
        self.extend(lossy=True)

    def _updates(self, node: Node) -> list[Update]:
        updates = []
        for pool, events in node.events.items():
            if node.block.number < self.listed_from[pool] and self.random.random() < 0.5:
                continue
            cut = self.random.randint(1, len(events)) if self.random.random() < 0.2 else len(events)
            updates += [
                Update(pool, node.block, part, at) for at, part in enumerate((events[:cut], events[cut:])) if part
            ]
        self.random.shuffle(updates)
        return updates

    def _head(self, node: Node, updates: int) -> Head:
        """A node says which blocks are safe and finalized, or does not; no reorg of the plan reaches these."""
        number = node.block.number
        safe = self.random.choice((None, max(0, number - self.plan.deepest)))
        finalized = self.random.choice((None, max(0, number - 2 * self.plan.deepest)))
        return Head(node.header, updates, None, safe, finalized, self.random.choice((None, CHAIN_ID)))

    def _emit(self, node: Node, lossy: bool) -> None:
        updates = self._updates(node)
        records: list[ChainItem] = [*updates, self._head(node, len(updates))]
        if lossy:
            at = self.random.randrange(len(records))
            hurt = records[at]
            records[at : at + 1] = (
                [UndecodableUpdate(hurt.pool)] if isinstance(hurt, Update) and self.random.random() < 0.5 else []
            )
        self.chain += records

    def _reorg(self) -> None:
        depth = self.random.randint(1, self.plan.deepest)
        if depth >= len(self.path):
            return
        if self.random.random() < 0.3:
            cut = self._updates(self._next())
            self.chain += cut[: self.random.randint(0, len(cut))]
        tip = self.path[-1].block
        del self.path[-depth:]
        if not self.plan.faults or self.random.random() < 0.9:
            self.chain.append(Reorg(self.path[-1].block, self.random.choice([tip, None])))
        for _ in range(self.random.choice([0, 1, depth - 1, depth, depth + 1])):
            self.extend()

    def _gap(self) -> None:
        first = self.path[-1].header.number + 1
        self.path += [self._node(tip := self.path[-1], dict(tip.pools), tip.header.number + 1)]
        if self.random.random() < 0.5:
            self.path += [self._node(tip := self.path[-1], dict(tip.pools), tip.header.number + 1)]
        if self.random.random() < 0.7:
            self.chain.append(Gap(first, self.path[-1].header.number, "the node does not have them"))

    def _stray(self) -> None:
        """A bridge that has been replaced and does not know it yet."""
        updates = self._updates(self.random.choice(list(self.nodes.values())))
        self.chain += updates[: self.random.randint(0, len(updates))]

    def _again(self) -> None:
        """A bridge that crashed after its records were written and before they were acknowledged."""
        updates = self._updates(self.path[-1])
        self.chain += updates
        if self.random.random() < 0.5:
            self.chain.append(self._head(self.path[-1], len(updates)))

    def _listings(self, pool: PoolMetadata) -> list[WhitelistItem]:
        first = Listed(pool, self.listed_from[pool.id])
        again = Listed(pool, first.from_block + self.random.randint(1, 5))
        return self.random.choice(
            [[(pool.id, first)], [(pool.id, first)] * 2, [(pool.id, first), (pool.id, None), (pool.id, again)]]
        )

    def _snapshot(self, pool: PoolMetadata) -> SnapshotRecord:
        node = self.random.choice([*self.nodes.values(), *self.path * 2])
        if self.random.random() < 0.8:
            return self.true_snapshot(pool.id, node.block)
        return self.random.choice([self._of_no_block, self._inconsistent, self._unreadable])(pool, node)

    def true_snapshot(self, pool: PoolId, block: Block) -> Snapshot:
        return Snapshot(pool, block, self.nodes[block.hash].pools[pool].state)

    def _of_no_block(self, pool: PoolMetadata, node: Node) -> SnapshotRecord:
        return Snapshot(pool.id, Block(node.block.number, "0x" + "ee" * 32), node.pools[pool.id].state)

    def _inconsistent(self, pool: PoolMetadata, node: Node) -> SnapshotRecord:
        naive = node.pools[pool.id]
        if pool.protocol == "v2" or not naive.initialized:
            return Snapshot(pool.id, node.block, V3State(1 << 96, 0, 1, ()))
        return Snapshot(
            pool.id, node.block, V3State(naive.sqrt_price_x96, naive.tick, naive.liquidity + 1, naive.ticks)
        )

    def _unreadable(self, pool: PoolMetadata, node: Node) -> SnapshotRecord:
        return Unreadable(pool.id, node.block, "no contract")

    @property
    def tip(self) -> Node:
        return self.path[-1]


def replayed(pool: PoolMetadata, blocks: Sequence[Node]) -> PoolState:
    return blocks[-1].pools[pool.id].whole
