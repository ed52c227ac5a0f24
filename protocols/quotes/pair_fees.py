"""The fee of a V2 pair: by its factory, or by the code that its address proves."""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from protocols.quotes.order import QuoteRefused, RefusalKind
from protocols.quotes.pool_keys import pair_address
from protocols.types import PoolMetadata


class PairFork(msgspec.Struct, frozen=True):
    name: str
    fee: int
    """In pips, written into the code of its pairs."""
    factories: tuple[str, ...]
    """Lower-case addresses."""
    init_code_hashes: tuple[str, ...]
    """Of its pairs; the same code takes the same fee on any chain."""


@lru_cache(maxsize=1 << 14)
def fee_of(pool: PoolMetadata, forks: tuple[PairFork, ...]) -> int:
    """In pips. Raises QuoteRefused where neither the factory nor the code is known."""
    for fork in forks:
        if pool.factory in fork.factories or _is_created_by(pool, fork):
            return fork.fee
    of_whom = f"factory {pool.factory}" if pool.factory else "the factory that the list does not name"
    known = ", ".join(f"{fork.name} ({fork.fee / 100:g} basis points)" for fork in forks)
    raise QuoteRefused(RefusalKind.FEE_UNKNOWN, f"the fee of pairs of {of_whom} is not known; known are {known}")


def _is_created_by(pool: PoolMetadata, fork: PairFork) -> bool:
    factories: Iterable[str] = fork.factories if pool.factory is None else (pool.factory,)
    tokens = pool.token0.address, pool.token1.address
    return any(
        pair_address(factory, *tokens, code) == pool.id for factory in factories for code in fork.init_code_hashes
    )
