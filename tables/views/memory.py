"""A pool's state at a block in memory, asked for by number, hash, `safe` or `finalized`. Pure."""

from typing import Literal, get_args

import msgspec

from protocols.dex import PoolState
from protocols.types import Block
from tables.chain import CanonicalChain
from tables.live import Live, state_at
from tables.partition import Partition
from tables.pool import Pool, Reason, WaitingKind

AHEAD = Reason(WaitingKind.AHEAD, "a crash left its state ahead of the partition's head")
NO_BLOCK = Reason(WaitingKind.GAP, "no block has come since")

BlockTag = Literal["safe", "finalized"]
BlockRef = int | str
"""A number, a lower-case 0x hash, or a BlockTag."""


class NotInMemory(Exception):
    """A block whose state is not remembered, with the range of blocks that is."""

    def __init__(self, asked: BlockRef, first: int | None, last: int | None, why: str) -> None:
        super().__init__(f"block {asked} cannot be had: {why}")
        self.first, self.last = first, last


class At(msgspec.Struct, frozen=True):
    """A live pool's state at the end of a block."""

    live: Live
    block: Block
    state: PoolState


def at(partition: Partition, pool: Pool, ref: BlockRef | None) -> At | None:
    """At the partition's head where no block is asked for; None while the pool waits. Raises NotInMemory."""
    chain, live = partition.chain, pool.life
    head = chain.head
    if not isinstance(live, Live) or head is None or partition.is_ahead(pool.listed.pool.id):
        if ref is not None:
            raise NotInMemory(ref, None, None, f"the pool is waiting: {reason(partition, pool)}")
        return None
    first = max(live.base.block.number, chain.heads[0].number)
    number = head.number if ref is None else number_of(chain, ref, first)
    block_hash = chain.hash_at(number)
    state = state_at(live, number) if first <= number <= head.number else None
    if state is None or block_hash is None:
        if ref is None:
            return None
        raise _not_in_memory(ref, first, head.number)
    return At(live, Block(number, block_hash), state)


def number_of(chain: CanonicalChain, ref: BlockRef, first: int | None = None) -> int:
    """The number of the block on this chain. Raises NotInMemory; `first`: the first block that can be had."""
    if isinstance(ref, int):
        return ref
    last = chain.head.number if chain.head else None
    if is_named(ref):
        number = chain.finality.safe if ref == "safe" else chain.finality.finalized
        if number is None:
            raise NotInMemory(ref, first, last, f"the node does not say which block is {ref}")
        return number
    number = next((header.number for header in reversed(chain.heads) if header.hash == ref), None)
    if number is None:
        raise _not_in_memory(ref, first, last)
    return number


def is_named(ref: BlockRef) -> bool:
    """By a BlockTag."""
    return ref in get_args(BlockTag)


def number_in_memory(chain: CanonicalChain, ref: BlockRef | None) -> int | None:
    """Of a block that the chain remembers, if not every pool; None where no block is asked for. Raises NotInMemory."""
    if ref is None:
        return None
    first = chain.heads[0].number if chain.heads else None
    number = number_of(chain, ref, first)
    if first is None or chain.head is None or not first <= number <= chain.head.number:
        raise _not_in_memory(ref, first, chain.head.number if chain.head else None)
    return number


def _not_in_memory(ref: BlockRef, first: int | None, last: int | None) -> NotInMemory:
    return NotInMemory(ref, first, last, f"in memory are blocks {first} to {last}")


def reason(partition: Partition, pool: Pool) -> Reason | None:
    """Why no state can be served; None where one can."""
    if not isinstance(pool.life, Live):
        return pool.life.reason
    if partition.is_ahead(pool.listed.pool.id):
        return AHEAD
    return None if partition.chain.head else NO_BLOCK
