"""The blocks that several partitions share, though each may be ahead of others. Pure."""

from collections.abc import Sequence

from protocols.types import Block
from tables.chain import CanonicalChain
from tables.views.memory import BlockRef, NotInMemory, is_named, number_in_memory, number_of

MOST_SHARED = 64


def shared_blocks(chains: Sequence[CanonicalChain], ref: BlockRef | None) -> list[Block]:
    """Blocks that all of them have in memory, the newest first; empty while they are on different forks.

    At most the block that is asked for by number or hash; else those up to the newest, safe or finalized one that all
    know. Raises NotInMemory.
    """
    if ref is not None and not is_named(ref):
        numbers = {number_in_memory(chain, ref) for chain in chains}
        first = last = max(number for number in numbers if number is not None)
    else:
        first = max(_oldest(chain) for chain in chains)
        last = min(_newest(chain, ref) for chain in chains)
    while last >= first and len({chain.hash_at(last) for chain in chains}) > 1:
        last -= 1
    numbers_down = range(last, max(first, last - MOST_SHARED + 1) - 1, -1)
    return [Block(number, hash_) for number in numbers_down if (hash_ := chains[0].hash_at(number)) is not None]


def _oldest(chain: CanonicalChain) -> int:
    if not chain.heads:
        raise NotInMemory("latest", None, None, "no block has come yet")
    return chain.heads[0].number


def _newest(chain: CanonicalChain, ref: BlockRef | None) -> int:
    newest = chain.heads[-1].number
    return newest if ref is None else min(newest, number_of(chain, ref, chain.heads[0].number))
