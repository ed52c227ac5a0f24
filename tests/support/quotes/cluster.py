"""Two workers with pools that can be quoted, of V2, V3 and V4 and the same three tokens, and some that cannot."""

from protocols.quotes.pool_keys import key_hash, pair_address
from protocols.ticks import LiquidityChange, Tick, sqrt_ratio_at_tick
from protocols.types import NATIVE, PoolId, PoolMetadata, Token
from protocols.v2 import FORKS, V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.kafka.records import Listed, Snapshot, Update
from streams.kafka.topics import partition_of
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.partition import Changes, Partition
from tests.support.web_cluster import PARTITIONS, Cluster, block, head

COIN, USDC, DAI = Token(NATIVE, 18), Token("0x" + "a0" * 20, 6, "USDC"), Token("0x" + "d0" * 20, 18, "DAI")
TAXED = Token("0x" + "f0" * 20, 18, fee_on_transfer=True)
FACTORY = "0x" + "fa" * 20
L = 10**21


def _pair(token0: Token, token1: Token) -> PoolMetadata:
    address = pair_address(FACTORY, token0.address, token1.address, FORKS[0].init_code_hashes[0])
    return PoolMetadata(PoolId(address), "v2", token0, token1, factory=FACTORY)


def _v4(token0: Token, token1: Token, fee: int, hooks: str) -> PoolMetadata:
    pool_id = key_hash(token0.address, token1.address, fee, 60, hooks)
    return PoolMetadata(PoolId(pool_id), "v4", token0, token1, fee, 60, None, hooks)


V2 = _pair(COIN, USDC)
V3 = PoolMetadata(PoolId("0x" + "33" * 20), "v3", USDC, DAI, 500, 60)
V4 = _v4(COIN, DAI, 3000, NATIVE)
DYNAMIC = _v4(COIN, USDC, 0x800000, f"0x{0xABC << 14:040x}")
HOOKED = _v4(USDC, DAI, 3000, f"0x{1 << 7:040x}")
WAITS = PoolMetadata(PoolId("0x" + "77" * 20), "v3", USDC, DAI, 100, 1)
TAXED_PAIR = _pair(USDC, TAXED)
UNKNOWN_FORK = PoolMetadata(PoolId("0x" + "99" * 20), "v2", USDC, DAI, factory=FACTORY)
POOLS = (V2, V3, V4, DYNAMIC, HOOKED, WAITS, TAXED_PAIR, UNKNOWN_FORK)
TICKS = (Tick(-6000, L, L), Tick(6000, L, -L))


def filled(index: int) -> Partition:
    """Blocks 1 to 3; all but one are read at block 1; in block 3 the V3 pool has twice the liquidity."""
    changes = Changes(Partition(64))
    mine = [pool for pool in POOLS if partition_of(pool.id.encode(), PARTITIONS) == index]
    for pool in mine:
        fold_listing(changes, pool.id, Listed(pool, 1), 0)
    fold_chain(changes, head(1, 0, 1_000), 0)
    for pool in mine:
        if pool is not WAITS:
            fold_snapshot(changes, Snapshot(pool.id, block(1), _state(pool)), 0)
    fold_chain(changes, head(2, 0, 2_000), 1)
    if V3 in mine:
        fold_chain(changes, Update(V3.id, block(3), (LiquidityChange(-6000, 6000, L),)), 2)
    fold_chain(changes, head(3, int(V3 in mine), 3_000), 2)
    return changes.partition


def _state(pool: PoolMetadata) -> V2State | V3State | V4State:
    price = sqrt_ratio_at_tick(0)
    if pool.protocol == "v2":
        return V2State(10**21, 3_000 * 10**9)
    if pool.protocol == "v3":
        return V3State(price, 0, L, TICKS)
    return V4State(price, 0, L, TICKS, lp_fee=4321 if pool is DYNAMIC else 3000, protocol_fee=700 << 12 | 900)


def cluster() -> Cluster:
    return Cluster(fill=filled)
