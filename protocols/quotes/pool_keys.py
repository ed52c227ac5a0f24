"""What a pool's id proves about it: the code of a V2 pair, the fee of a V3 pool, and that a V4 pool has no hooks.

An address is the CREATE2 hash of factory, tokens, fee and code; a V4 id is the hash of a PoolKey.
"""

from functools import lru_cache

from eth_hash.auto import keccak

from protocols.types import NATIVE, PoolMetadata

V3_INIT_CODE_HASH = bytes.fromhex("e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54")
"""Of Uniswap's V3 pools, on any chain."""
V3_FEES = (100, 500, 3000, 10_000)
"""That Uniswap's factory knows."""


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def pair_address(factory: str, token0: str, token1: str, init_code_hash: str) -> str:
    """Where UniswapV2Factory creates the pair of two tokens."""
    salt = keccak(_bytes(token0) + _bytes(token1))
    return "0x" + keccak(b"\xff" + _bytes(factory) + salt + _bytes(init_code_hash))[12:].hex()


def pool_address(factory: str, token0: str, token1: str, fee: int) -> str:
    """Where UniswapV3Factory creates the pool of two tokens and a fee."""
    words = (int(token0, 16), int(token1, 16), fee)
    salt = keccak(b"".join(word.to_bytes(32, "big") for word in words))
    return "0x" + keccak(b"\xff" + _bytes(factory) + salt + V3_INIT_CODE_HASH)[12:].hex()


@lru_cache(maxsize=1 << 14)
def proven_fee(pool: PoolMetadata) -> int | None:
    """Another fee than the listed one, which the address of a V3 pool proves; None where nothing speaks against it."""
    if pool.factory is None or (pool.fee in V3_FEES and _has_fee(pool, pool.factory, pool.fee)):
        return None
    return next((fee for fee in V3_FEES if _has_fee(pool, pool.factory, fee)), None)


def _has_fee(pool: PoolMetadata, factory: str, fee: int) -> bool:
    return pool_address(factory, pool.token0.address, pool.token1.address, fee) == pool.id


def key_hash(token0: str, token1: str, fee: int, tick_spacing: int, hooks: str) -> str:
    """The id of the V4 pool with this PoolKey."""
    words = (int(token0, 16), int(token1, 16), fee, tick_spacing, int(hooks, 16))
    return "0x" + keccak(b"".join(word.to_bytes(32, "big") for word in words)).hex()


@lru_cache(maxsize=1 << 14)
def has_no_hooks(pool: PoolMetadata) -> bool:
    """Whether the id is that of a V4 pool with these tokens, fee and tick spacing, and without hooks."""
    found = key_hash(pool.token0.address, pool.token1.address, pool.fee or 0, pool.tick_spacing or 0, NATIVE)
    return found == pool.id
