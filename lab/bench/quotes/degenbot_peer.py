"""degenbot 0.5.0 on the states of a task. Runs in an environment of its own and imports nothing of this project.

Its pools are made without their constructor, which would read a node. Its V4 pools are left out.
"""

import json
import sys
import time
from threading import Lock
from weakref import WeakSet

from degenbot.types.concrete import BoundedCache  # type: ignore[import-not-found]
from degenbot.uniswap.v3_liquidity_pool import UniswapV3Pool  # type: ignore[import-not-found]
from degenbot.uniswap.v3_types import (  # type: ignore[import-not-found]
    UniswapV3BitmapAtWord,
    UniswapV3LiquidityAtTick,
    UniswapV3PoolState,
)


def main() -> None:
    task = json.load(sys.stdin)
    pools = [_pool(each) if each["protocol"] == "v3" else None for each in task["pools"]]
    amounts: list[str | None] = []
    microseconds: list[float] = []
    for order in task["orders"]:
        pool = pools[order["pool"]]
        if pool is None:
            amounts.append(None)
            continue
        token, amount = ("A" if order["zero_for_one"] else "B"), int(order["amount_in"])
        began = time.perf_counter()
        amount_out = pool.calculate_tokens_out_from_tokens_in(token, amount)
        microseconds.append((time.perf_counter() - began) * 1e6)
        amounts.append(str(amount_out))
    json.dump({"amounts": amounts, "microseconds": microseconds}, sys.stdout)


def _pool(each: dict) -> UniswapV3Pool:  # type: ignore[type-arg]
    pool = UniswapV3Pool.__new__(UniswapV3Pool)
    pool.address, pool._chain_id, pool.token0, pool.token1 = each["id"], 1, "A", "B"
    pool.fee, pool.tick_spacing, pool.name = each["fee"], each["tick_spacing"], each["id"]
    words: dict[int, int] = {}
    for tick, _, _ in each["ticks"]:
        compressed = tick // each["tick_spacing"]
        words[compressed >> 8] = words.get(compressed >> 8, 0) | 1 << (compressed & 255)
    pool._state = UniswapV3PoolState(
        address=each["id"],
        block=100,
        liquidity=int(each["liquidity"]),
        sqrt_price_x96=int(each["sqrt_price_x96"]),
        tick=each["tick"],
        tick_bitmap={word: UniswapV3BitmapAtWord(bitmap=bits) for word, bits in words.items()},
        tick_data={
            tick: UniswapV3LiquidityAtTick(liquidity_gross=int(gross), liquidity_net=int(net))
            for tick, gross, net in each["ticks"]
        },
    )
    pool.sparse_liquidity_map, pool._initial_state_block = False, 100
    pool._state_lock, pool._subscribers = Lock(), WeakSet()
    pool._state_cache, pool._swap_step_cache, pool._swap_step_cache_lock = BoundedCache(max_items=8), {}, Lock()
    pool._state_cache[100] = pool._state
    return pool


if __name__ == "__main__":
    main()
