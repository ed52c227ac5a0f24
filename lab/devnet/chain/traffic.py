"""Random swaps and liquidity changes, with rare edge cases; the same for the same seed and chain."""

import math
import random
from collections.abc import Mapping, Sequence

from lab.devnet.chain import positions
from lab.devnet.chain.blocks import Transaction
from lab.devnet.chain.contracts import Contracts, Pool
from lab.devnet.reference.reader import MAX_TICK
from protocols.ticks import sqrt_ratio_at_tick

Range = tuple[int, int, int]
"""Lower tick, upper tick, salt (0 but in V4)."""
Heads = Mapping[str, Mapping[str, int]]
"""Each pool's fields before the block, as `ReferenceReader.heads` reads them."""
UNLIMITED = 2**100
"""More than it takes to go to any price limit."""
HOME_TICKS = 4_000
"""Beyond so many ticks from its first price a pool is mostly traded back."""


class Traffic:
    """Tracks the positions it holds; `remember` and `forget` keep them right through reorgs."""

    def __init__(self, contracts: Contracts, pools: Sequence[Pool], heads: Heads, seed: int) -> None:
        self._contracts = contracts
        self._random = random.Random(seed)
        self._held: dict[str, dict[Range, int]] = {}
        self._home: dict[str, int] = {}
        self._memory: dict[int, dict[str, dict[Range, int]]] = {}
        self.pools: list[Pool] = []
        for pool in pools:
            self.add(pool, heads)

    def add(self, pool: Pool, heads: Heads) -> None:
        self.pools.append(pool)
        self._held[pool.id] = {}
        self._home[pool.id] = heads[pool.id].get("tick", 0)

    def remember(self, block: int) -> None:
        """The pools and positions as they are after this block."""
        self._memory[block] = {pool: dict(held) for pool, held in self._held.items()}
        self._memory.pop(block - 200, None)

    def forget(self, after_block: int) -> list[Pool]:
        """The blocks after this one are gone, and what was done in them; the pools that are gone with them."""
        remembered = self._memory[after_block]
        self._held = {pool: dict(held) for pool, held in remembered.items()}
        self._memory = {block: held for block, held in self._memory.items() if block <= after_block}
        gone = [pool for pool in self.pools if pool.id not in remembered]
        self.pools = [pool for pool in self.pools if pool.id in remembered]
        return gone

    def unknown_up_to(self, block: int) -> range:
        """The blocks after the last remembered one."""
        return range(max(self._memory, default=block) + 1, block + 1)

    def opening(self, pool: Pool, heads: Heads, count: int = 12) -> list[Transaction]:
        """First liquidity: `count` positions around the price, or reserves of a pair."""
        if pool.protocol == "v2":
            return positions.v2_mint(
                pool, self._random.randrange(10**20, 10**24), self._random.randrange(10**20, 10**24)
            )
        tick = heads[pool.id]["tick"]
        around = self._usable(pool, tick - 200 * pool.tick_spacing, tick + 200 * pool.tick_spacing)
        return [self._change(pool, (*around, 0), 10**21)] + [self._open(pool, tick) for _ in range(count - 1)]

    def block(self, heads: Heads, transactions: int = 8) -> list[Transaction]:
        """About so many transactions; half of them meet on two pools: a block does several things to one pool."""
        some = self._random.sample(self.pools, k=min(2, len(self.pools)))
        found: list[Transaction] = []
        while len(found) < transactions:
            pool = self._random.choice(some if self._random.random() < 0.5 else self.pools)
            found += (
                self._act_v2(pool, heads[pool.id]) if pool.protocol == "v2" else self._act(pool, heads[pool.id]["tick"])
            )
        return found

    def _act_v2(self, pool: Pool, head: Mapping[str, int]) -> list[Transaction]:
        reserves = (head["reserve0"], head["reserve1"])
        share = 10 ** self._random.uniform(-12, -0.5)
        part0, part1 = (max(1, int(reserve * share)) for reserve in reserves)
        match self._random.choices(("swap", "mint", "burn", "sync", "skim"), (60, 12, 10, 10, 8))[0]:
            case "mint":
                return positions.v2_mint(pool, part0, part1)
            case "burn":
                return positions.v2_burn(pool, max(1, int(math.isqrt(reserves[0] * reserves[1]) * share / 4)))
            case "sync" | "skim" as end:
                return positions.v2_donate(pool, part0, part1, kept=end == "sync")
            case _:
                zero_for_one = self._random.random() < 0.5
                paid, reserve_in, reserve_out = (part0, *reserves) if zero_for_one else (part1, *reversed(reserves))
                got = paid * 990 * reserve_out // (reserve_in * 1000 + paid * 997)
                if zero_for_one:
                    return positions.v2_swap(pool, (paid, 0), (0, got))
                return positions.v2_swap(pool, (0, paid), (got, 0))

    def _act(self, pool: Pool, tick: int) -> list[Transaction]:
        held = self._held[pool.id]
        actions = ("swap", "open", "add", "part", "close", "reopen", "poke", "neighbour", "idle")
        action = self._random.choices(actions, (45, 15, 5, 10, 7, 5, 4, 5, 4))[0]
        if action == "open":
            return [self._open(pool, tick)]
        if action == "swap" or not held:
            return [self._swap(pool, tick)]
        return self._act_on(pool, action, self._random.choice(list(held)))

    def _act_on(self, pool: Pool, action: str, where: Range) -> list[Transaction]:
        liquidity = self._held[pool.id][where]
        deltas = {
            "add": [self._liquidity()],
            "part": [-max(1, int(liquidity * self._random.random()))],
            "close": [-liquidity],
            "reopen": [-liquidity, self._liquidity()],
            "poke": [0],
        }
        if action == "neighbour":  # the tick between the two has a net of 0 and is still initialised
            beside = self._usable(pool, where[1], 2 * where[1] - where[0])
            return [self._change(pool, (*beside, where[2]), liquidity)]
        if action == "idle":
            v3 = pool.protocol == "v3"
            return [positions.collect(pool, where[:2]) if v3 else positions.donate(self._contracts, pool, 10**6)]
        return [self._change(pool, where, delta) for delta in deltas[action]]

    def _swap(self, pool: Pool, tick: int) -> Transaction:
        """Often exactly to the boundary of a tick, sometimes far beyond all liquidity."""
        away = tick - self._home[pool.id]
        down = self._random.random() < (0.5 if abs(away) < HOME_TICKS else 0.9 if away > 0 else 0.1)
        steps = self._random.choices((1, 4, 30, 300, 3000), (30, 30, 25, 12, 3))[0]
        distance = self._random.randint(1, steps) * pool.tick_spacing
        target = (tick // pool.tick_spacing) * pool.tick_spacing + (-distance if down else distance)
        target += self._random.choice((0, 0, self._random.randrange(pool.tick_spacing)))
        limit = sqrt_ratio_at_tick(max(-MAX_TICK + 1, min(MAX_TICK - 1, target)))
        amount = UNLIMITED if self._random.random() < 0.4 else int(10 ** self._random.uniform(0, 24))
        amount = -amount if self._random.random() < 0.2 else amount
        return positions.swap(self._contracts, pool, amount, limit, zero_for_one=down)

    def _open(self, pool: Pool, tick: int) -> Transaction:
        """A range around or beside the price; rarely the full range."""
        salt = self._random.randrange(3) if pool.protocol == "v4" else 0
        if self._random.random() < 0.03:
            return self._change(pool, (*self._usable(pool, -MAX_TICK, MAX_TICK), salt), 10**10)
        width = self._random.choice((1, 3, 10, 60, 600))
        lower, upper = (self._random.randint(-width, width) for _ in range(2))
        centre = tick // pool.tick_spacing
        ends = sorted((centre + lower, centre + upper + (lower == upper)))
        ticks = self._usable(pool, ends[0] * pool.tick_spacing, ends[1] * pool.tick_spacing)
        return self._change(pool, (*ticks, salt), self._liquidity())

    def _liquidity(self) -> int:
        return int(10 ** self._random.uniform(0, 22))

    def _usable(self, pool: Pool, lower: int, upper: int) -> tuple[int, int]:
        most = MAX_TICK // pool.tick_spacing
        low = max(-most, min(most - 1, lower // pool.tick_spacing))
        return low * pool.tick_spacing, max(low + 1, min(most, upper // pool.tick_spacing)) * pool.tick_spacing

    def _change(self, pool: Pool, where: Range, delta: int) -> Transaction:
        held = self._held[pool.id]
        held[where] = held.get(where, 0) + delta
        if not held[where]:
            del held[where]
        return positions.change_liquidity(self._contracts, pool, where[:2], delta, where[2])
