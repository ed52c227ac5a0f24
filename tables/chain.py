"""The canonical chain as one partition knows it, and the promise that its blocks arrive whole.

Updates wait here until their block's Head has confirmed that none is missing; only then do they touch a pool.
"""

from collections.abc import Iterable, Mapping

import msgspec

from protocols.events import Event
from protocols.types import Block, PoolId
from streams.kafka.records import Gap, Head, Header, Reorg, Update


class Happened(msgspec.Struct, frozen=True):
    """A block is complete."""

    block: Block
    events: Mapping[PoolId, tuple[Event, ...]]
    illegible: tuple[PoolId, ...] = ()
    """Pools with an update in the block that could not be read."""


class Rewound(msgspec.Struct, frozen=True):
    """The blocks after `ancestor` are gone."""

    ancestor: Block


class Broken(msgspec.Struct, frozen=True):
    """Something is missing up to and including block `last`; nothing that was known before can be relied on."""

    last: int
    reason: str


class Started(msgspec.Struct, frozen=True):
    """The first block that this partition heard of; whatever came before it was not kept."""

    first: int


class Illegible(msgspec.Struct, frozen=True):
    """An update of this pool could not be read; it still counts as one that came."""

    pool: PoolId


Step = Happened | Rewound | Broken | Started


class CanonicalChain(msgspec.Struct, frozen=True):
    memory: int
    """How many heads are remembered."""
    heads: tuple[Header, ...] = ()
    """Ascending, each the parent of the next."""
    partial: tuple[Update, ...] = ()
    """Of the block after the last head, in the order they came; of another fork's too, where one was cut off."""
    illegible: tuple[PoolId, ...] = ()
    """Pools whose update of the block after the last head could not be read."""
    since: int = 0
    """No update of this block or of one after it is missing."""
    term: int = 0
    """The highest that a record carried; what comes with a lower one is of a bridge that has been replaced."""

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
    chain: CanonicalChain, record: Update | Head | Reorg | Gap | Illegible
) -> tuple[CanonicalChain, tuple[Step, ...]]:
    if not isinstance(record, Illegible) and record.term is not None:
        if record.term < chain.term:
            return chain, ()
        if record.term > chain.term:
            chain = msgspec.structs.replace(chain, term=record.term, partial=(), illegible=())
    match record:
        case Update():
            return _updated(chain, record), ()
        case Illegible():
            return msgspec.structs.replace(chain, illegible=(*chain.illegible, record.pool)), ()
        case Head():
            return _headed(chain, record)
        case Reorg():
            return _reorged(chain, record)
        case Gap():
            return _broken(chain, (), record.last, f"gap: {record.reason}")


def _updated(chain: CanonicalChain, update: Update) -> CanonicalChain:
    if chain.has(update.block):
        return chain
    return msgspec.structs.replace(chain, partial=(*chain.partial, update))


def _headed(chain: CanonicalChain, head: Head) -> tuple[CanonicalChain, tuple[Step, ...]]:
    block = Block(head.block.number, head.block.hash)
    if chain.has(block):
        return chain, ()
    last = chain.head
    if last is not None and (head.block.parent, block.number) != (last.hash, last.number + 1):
        reason = f"gap: block {block.number} has parent {head.block.parent}, the last head is {last.number} {last.hash}"
        return _broken(chain, (head.block,), block.number, reason)
    heads = (*chain.heads, head.block)
    updates = {(update.pool, update.part): update for update in chain.partial if update.block == block}
    if (arrived := len(updates) + len(chain.illegible)) != head.updates:
        reason = f"gap: {arrived} of {head.updates} updates of block {block.number} arrived"
        return _broken(chain, heads, block.number, reason)
    if any(updates[seen.pool, seen.part] != seen for seen in chain.partial if seen.block == block):
        return _broken(chain, heads, block.number, f"gap: two different updates of one pool in block {block.number}")
    happened = Happened(block, _events(updates.values()), chain.illegible)
    if last:
        return _with(chain, heads, chain.since), (happened,)
    return _with(chain, heads, block.number), (Started(block.number), happened)


def _events(updates: Iterable[Update]) -> dict[PoolId, tuple[Event, ...]]:
    events: dict[PoolId, tuple[Event, ...]] = {}
    for update in sorted(updates, key=lambda each: each.part):
        events[update.pool] = (*events.get(update.pool, ()), *update.events)
    return events


def _reorged(chain: CanonicalChain, reorg: Reorg) -> tuple[CanonicalChain, tuple[Step, ...]]:
    ancestor = reorg.ancestor
    if not chain.heads or ancestor.number < chain.heads[0].number or not chain.has(ancestor):
        reason = f"reorg to block {ancestor.number} {ancestor.hash}, which is not in memory"
        return _broken(chain, (), ancestor.number, reason)
    kept = tuple(head for head in chain.heads if head.number <= ancestor.number)
    rewound = _with(chain, kept, min(chain.since, ancestor.number + 1))
    return rewound, () if len(kept) == len(chain.heads) else (Rewound(ancestor),)


def _broken(
    chain: CanonicalChain, heads: tuple[Header, ...], last: int, reason: str
) -> tuple[CanonicalChain, tuple[Step, ...]]:
    return _with(chain, heads, last + 1), (Broken(last, reason),)


def _with(chain: CanonicalChain, heads: tuple[Header, ...], since: int) -> CanonicalChain:
    return CanonicalChain(chain.memory, heads[-chain.memory :], since=since, term=chain.term)
