"""Thousands of random pools with real contracts and positions, for benchmarks."""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations, cycle, islice

import msgspec

from lab.devnet.chain.blocks import GAS_PER_TRANSACTION, Chain, Transaction
from lab.devnet.chain.contracts import NATIVE, V4_KEY, Contracts, Pool, v4_pool
from lab.devnet.chain.evm import address, calldata, words
from lab.devnet.chain.positions import change_liquidity, v2_mint
from protocols.ticks import MAX_TICK, sqrt_ratio_at_tick
from protocols.types import PoolId

FEES = {100: 1, 500: 10, 3000: 60, 10_000: 200}
"""Fee to tick spacing: all that Uniswap's V3 factory knows."""
TRANSACTIONS_PER_BLOCK = 2_000
"""anvil keeps a copy of the whole state for each block."""
ANVIL_OPTIONS = ("--prune-history", "256", "--transaction-block-keeper", "256")
FAR_TICK = 200_000
"""No pool's price is further out."""
SMALL = 10**12


class Counts(msgspec.Struct, frozen=True):
    v2: int
    v3: int
    v4: int
    dense: int
    """Of the V3 pools, so many have `dense_ticks` ticks or more."""
    dense_ticks: int = 1_000
    tokens: int = 30


def make(chain: Chain, contracts: Contracts, counts: Counts, seed: int) -> list[Pool]:
    """All with liquidity; the V3 pools by spacing in turn."""
    chosen = random.Random(seed)
    chain.rpc.call("evm_setBlockGasLimit", hex(TRANSACTIONS_PER_BLOCK * GAS_PER_TRANSACTION))
    v2 = _v2_pools(chain, contracts, counts.v2, chosen)
    v3 = _v3_pools(chain, contracts, counts.v3, chosen)
    v4 = _v4_pools(chain, contracts, counts.v4, chosen)
    dense = {pool.id for pool in v3[: counts.dense]}
    changes = []
    for pool in (*v3, *v4):
        ranges = _dense(pool, counts.dense_ticks // 2) if pool.id in dense else _sparse(pool, chosen)
        amounts = ((ticks, chosen.randrange(SMALL, 10 * SMALL)) for ticks in ranges)
        changes += [change_liquidity(contracts, pool, ticks, amount, salt=0) for ticks, amount in amounts]
    send(chain, changes)
    return [*v2, *v3, *v4]


def send(chain: Chain, transactions: Sequence[Transaction]) -> None:
    for at in range(0, len(transactions), TRANSACTIONS_PER_BLOCK):
        chain.succeed(transactions[at : at + TRANSACTIONS_PER_BLOCK])


def _v2_pools(chain: Chain, contracts: Contracts, count: int, chosen: random.Random) -> list[Pool]:
    pairs = list(islice(combinations(contracts.tokens, 2), count))
    factory = contracts.v2_factory
    send(chain, [Transaction(factory, calldata("createPair(address,address)", *pair)) for pair in pairs])
    found = _addresses_from(chain, factory, [calldata("getPair(address,address)", *pair) for pair in pairs])
    pools = [Pool(PoolId(at), "v2", at, *pair, factory) for at, pair in zip(found, pairs, strict=True)]
    amounts = [(chosen.randrange(10**9, 10**24), chosen.randrange(10**9, 10**24)) for _ in pools]
    send(chain, [each for pool, some in zip(pools, amounts, strict=True) for each in v2_mint(pool, *some)])
    return pools


def _v3_pools(chain: Chain, contracts: Contracts, count: int, chosen: random.Random) -> list[Pool]:
    keys = list(islice(((*pair, fee) for pair in combinations(contracts.tokens, 2) for fee in FEES), count))
    factory = contracts.v3_factory
    send(chain, [Transaction(factory, calldata("createPool(address,address,uint24)", *key)) for key in keys])
    found = _addresses_from(chain, factory, [calldata("getPool(address,address,uint24)", *key) for key in keys])
    send(chain, [Transaction(at, calldata("initialize(uint160)", _price(chosen))) for at in found])
    return [
        Pool(PoolId(at), "v3", at, token0, token1, factory, fee, FEES[fee])
        for at, (token0, token1, fee) in zip(found, keys, strict=True)
    ]


def _v4_pools(chain: Chain, contracts: Contracts, count: int, chosen: random.Random) -> list[Pool]:
    manager = contracts.manager
    kinds = zip(cycle(combinations(contracts.tokens, 2)), cycle(FEES.values()), range(count), strict=False)
    keys = [(*pair, 100 + number, spacing, NATIVE) for pair, spacing, number in kinds]
    send(chain, [Transaction(manager, calldata(f"initialize({V4_KEY},uint160)", key, _price(chosen))) for key in keys])
    return [v4_pool(manager, key) for key in keys]


def _price(chosen: random.Random) -> int:
    return sqrt_ratio_at_tick(chosen.randrange(-FAR_TICK, FAR_TICK))


def _dense(pool: Pool, positions: int) -> Iterator[tuple[int, int]]:
    """Two new ticks each, around 0, as wide as the range of ticks allows."""
    step = pool.tick_spacing * max(1, MAX_TICK // pool.tick_spacing // (positions * 8))
    return ((-number * step, number * step) for number in range(1, positions + 1))


def _sparse(pool: Pool, chosen: random.Random) -> list[tuple[int, int]]:
    most = MAX_TICK // pool.tick_spacing
    full = (-most * pool.tick_spacing, most * pool.tick_spacing)
    ends = [sorted(chosen.sample(range(-most, most + 1), 2)) for _ in range(chosen.randrange(12))]
    return [full, *((low * pool.tick_spacing, high * pool.tick_spacing) for low, high in ends)]


def _addresses_from(chain: Chain, to: str, calldatas: Sequence[str]) -> list[str]:
    calls = [("eth_call", [{"to": to, "data": each}, "latest"]) for each in calldatas]
    return [address(words(answer)[0]) for answer in chain.rpc.batch(calls)]
