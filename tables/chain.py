"""The canonical chain as one partition knows it; its blocks are applied only when they are whole. Pure.

Updates are kept here until the Head of their block confirms that none is missing.
"""

from collections.abc import Iterable, Mapping

import msgspec

from protocols.registry import Event
from protocols.types import Block, PoolId
from streams.kafka.records import Gap, Head, Header, Reorg, Update
from tables.pool import Reason, WaitingKind


class UndecodableUpdate(msgspec.Struct, frozen=True):
    """An update of this pool whose bytes cannot be decoded; it counts as one that arrived."""

    pool: PoolId


class BlockCompleted(msgspec.Struct, frozen=True):
    block: Block
    events: Mapping[PoolId, tuple[Event, ...]]
    undecodable: tuple[PoolId, ...] = ()
    """Pools with an update in the block that could not be decoded."""


class Rewound(msgspec.Struct, frozen=True):
    """The blocks after `ancestor` are no longer canonical."""

    ancestor: Block


class Invalidated(msgspec.Struct, frozen=True):
    """Events up to and including block `last` are missing: no pool's state can be relied on."""

    last: int
    reason: Reason


class Started(msgspec.Struct, frozen=True):
    """The first block of this partition; events before it were not kept."""

    first: int


Step = BlockCompleted | Rewound | Invalidated | Started


class Finality(msgspec.Struct, frozen=True):
    """As the last Head that named them has them; a reorg does not change them."""

    safe: int | None = None
    finalized: int | None = None


class CanonicalChain(msgspec.Struct, frozen=True):
    memory: int
    """How many heads are remembered."""
    heads: tuple[Header, ...] = ()
    """Ascending, each the parent of the next."""
    partial: tuple[Update, ...] = ()
    """Of the block after the last head, in the order of arrival; also of another fork's block that was cut off."""
    undecodable: tuple[PoolId, ...] = ()
    """Pools whose update of the block after the last head could not be decoded."""
    since: int = 0
    """No update of this block or of a later one is missing."""
    term: int = 0
    """The highest of a record so far; records of a lower one are of a bridge that has been replaced."""
    finality: Finality = Finality()
    chain_id: int | None = None

    @property
    def head(self) -> Header | None:
        return self.heads[-1] if self.heads else None

    def hash_at(self, number: int) -> str | None:
        """The canonical hash of a block; None where it is not remembered."""
        if not self.heads:
            return None
        first = self.heads[0].number
        if number == first - 1:
            return self.heads[0].parent
        if first <= number < first + len(self.heads):
            return self.heads[number - first].hash
        return None

    def has(self, block: Block) -> bool:
        return self.hash_at(block.number) == block.hash


def follow(
    chain: CanonicalChain, record: Update | Head | Reorg | Gap | UndecodableUpdate
) -> tuple[CanonicalChain, tuple[Step, ...]]:
    """The chain after a record of the topic, and what follows from it for the pools, in order."""
    if not isinstance(record, UndecodableUpdate) and record.term is not None:
        if record.term < chain.term:
            return chain, ()
        if record.term > chain.term:
            chain = msgspec.structs.replace(chain, term=record.term, partial=(), undecodable=())
    match record:
        case Update():
            return _add_update(chain, record), ()
        case UndecodableUpdate():
            return msgspec.structs.replace(chain, undecodable=(*chain.undecodable, record.pool)), ()
        case Head():
            return _add_head(chain, record)
        case Reorg():
            return _rewind(chain, record)
        case Gap():
            return _invalidate(chain, (), record.last, Reason(WaitingKind.GAP, record.reason))


def _add_update(chain: CanonicalChain, update: Update) -> CanonicalChain:
    if chain.has(update.block):
        return chain
    return msgspec.structs.replace(chain, partial=(*chain.partial, update))


def _add_head(chain: CanonicalChain, head: Head) -> tuple[CanonicalChain, tuple[Step, ...]]:
    block = Block(head.block.number, head.block.hash)
    if chain.has(block):
        return chain, ()
    chain = _with_node_facts(chain, head)
    last = chain.head
    if last is not None and (head.block.parent, block.number) != (last.hash, last.number + 1):
        detail = f"block {block.number} has parent {head.block.parent}, the last head is {last.number} {last.hash}"
        return _invalidate(chain, (head.block,), block.number, Reason(WaitingKind.GAP, detail))
    heads = (*chain.heads, head.block)
    updates = {(update.pool, update.part): update for update in chain.partial if update.block == block}
    if (arrived := len(updates) + len(chain.undecodable)) != head.updates:
        detail = f"{arrived} of {head.updates} updates of block {block.number} arrived"
        return _invalidate(chain, heads, block.number, Reason(WaitingKind.GAP, detail))
    if any(updates[seen.pool, seen.part] != seen for seen in chain.partial if seen.block == block):
        detail = f"two different updates of one pool in block {block.number}"
        return _invalidate(chain, heads, block.number, Reason(WaitingKind.GAP, detail))
    completed = BlockCompleted(block, _events(updates.values()), chain.undecodable)
    if last:
        return _with(chain, heads, chain.since), (completed,)
    return _with(chain, heads, block.number), (Started(block.number), completed)


def _with_node_facts(chain: CanonicalChain, head: Head) -> CanonicalChain:
    """What this head does not say stays as it was."""
    old = chain.finality
    finality = Finality(
        old.safe if head.safe is None else head.safe, old.finalized if head.finalized is None else head.finalized
    )
    chain_id = chain.chain_id if head.chain_id is None else head.chain_id
    if (finality, chain_id) == (old, chain.chain_id):
        return chain
    return msgspec.structs.replace(chain, finality=finality, chain_id=chain_id)


def _events(updates: Iterable[Update]) -> dict[PoolId, tuple[Event, ...]]:
    events: dict[PoolId, tuple[Event, ...]] = {}
    for update in sorted(updates, key=lambda each: each.part):
        events[update.pool] = (*events.get(update.pool, ()), *update.events)
    return events


def _rewind(chain: CanonicalChain, reorg: Reorg) -> tuple[CanonicalChain, tuple[Step, ...]]:
    ancestor = reorg.ancestor
    if not chain.heads or ancestor.number < chain.heads[0].number or not chain.has(ancestor):
        detail = f"to block {ancestor.number} {ancestor.hash}, which is not in memory"
        return _invalidate(chain, (), ancestor.number, Reason(WaitingKind.REORG, detail))
    kept = tuple(head for head in chain.heads if head.number <= ancestor.number)
    rewound = _with(chain, kept, min(chain.since, ancestor.number + 1))
    return rewound, () if len(kept) == len(chain.heads) else (Rewound(ancestor),)


def _invalidate(
    chain: CanonicalChain, heads: tuple[Header, ...], last: int, reason: Reason
) -> tuple[CanonicalChain, tuple[Step, ...]]:
    return _with(chain, heads, last + 1), (Invalidated(last, reason),)


def _with(chain: CanonicalChain, heads: tuple[Header, ...], since: int) -> CanonicalChain:
    return msgspec.structs.replace(chain, heads=heads[-chain.memory :], partial=(), undecodable=(), since=since)
