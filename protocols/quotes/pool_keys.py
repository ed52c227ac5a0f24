"""What a pool's id proves about it: the code of a V2 pair, and that a V4 pool has no hooks.

A pair's address is the CREATE2 hash of its factory, tokens and code; a V4 pool's id is the hash of its PoolKey.
"""

from functools import lru_cache

from eth_hash.auto import keccak

from protocols.types import NATIVE, PoolMetadata


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def pair_address(factory: str, token0: str, token1: str, init_code_hash: str) -> str:
    """Where UniswapV2Factory creates the pair of two tokens."""
    salt = keccak(_bytes(token0) + _bytes(token1))
    return "0x" + keccak(b"\xff" + _bytes(factory) + salt + _bytes(init_code_hash))[12:].hex()


def key_hash(token0: str, token1: str, fee: int, tick_spacing: int, hooks: str) -> str:
    """The id of the V4 pool with this PoolKey."""
    words = (int(token0, 16), int(token1, 16), fee, tick_spacing, int(hooks, 16))
    return "0x" + keccak(b"".join(word.to_bytes(32, "big") for word in words)).hex()


@lru_cache(maxsize=1 << 14)
def has_no_hooks(pool: PoolMetadata) -> bool:
    """Whether the id is that of a V4 pool with these tokens, fee and tick spacing, and without hooks."""
    found = key_hash(pool.token0.address, pool.token1.address, pool.fee or 0, pool.tick_spacing or 0, NATIVE)
    return found == pool.id
