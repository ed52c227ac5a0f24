"""The envelope of every answer and event about pools: of which chain, as of the end of which block, how old. Pure."""

from typing import NamedTuple

import msgspec

from streams.kafka.records import Header
from tables.chain import CanonicalChain


class ServedChain(NamedTuple):
    name: str
    """As ARENA_CHAIN has it."""
    configured_id: int | None = None
    """As ARENA_CHAIN_ID has it; None: as the heads have it."""


class BlockView(msgspec.Struct, frozen=True):
    number: int
    hash: str
    parent_hash: str
    timestamp: int
    """Seconds since the epoch."""


class Envelope(msgspec.Struct, frozen=True):
    chain: str
    chain_id: int | None
    """None until a bridge or ARENA_CHAIN_ID says it."""
    block: BlockView | None
    """The answer is as of its end. None where no block has come yet."""
    age_s: float | None
    """Seconds since the block's timestamp, 0 for one in the future; None without a block."""
    finalized: int | None
    """Number of the newest finalized block; None where the node does not say."""


def envelope(served: ServedChain, chain: CanonicalChain, number: int | None, now_s: float) -> Envelope:
    """As of that block of the chain, or as of its head. `now_s`: seconds since the epoch."""
    header = chain.head if number is None else header_at(chain, number)
    return Envelope(
        served.name,
        served.configured_id if served.configured_id is not None else chain.chain_id,
        block_view(header),
        max(0.0, round(now_s - header.timestamp, 3)) if header else None,
        chain.finality.finalized,
    )


def header_at(chain: CanonicalChain, number: int) -> Header | None:
    """None where it is not remembered."""
    index = number - chain.heads[0].number if chain.heads else -1
    return chain.heads[index] if 0 <= index < len(chain.heads) else None


def block_view(header: Header | None) -> BlockView | None:
    return BlockView(header.number, header.hash, header.parent, header.timestamp) if header else None
