"""The assembled chain: every pool as of its head, and the last blocks as they came, to resume from. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Literal

import msgspec

from protocols.types import Block, PoolId
from streams.kafka.records import Header
from web.stream.chain.assembly import Transition
from web.stream.chain.changes import NO_TICKS, Change, Changes, Entry

LARGE_TICKS = 2**14
"""Bytes of one pool's."""
MOST_LARGE_TICKS = 64 * 2**20
"""Bytes of large ticks that are remembered; a reader of ticks that resumes from before them needs a snapshot."""

STEPS_PER_BLOCK = 8
"""Remembered at most, on average: blocks, reorgs, and changes between blocks."""

Kind = Literal["snapshot", "block", "reorg"]


class Step(msgspec.Struct, frozen=True):
    """A move of the assembled chain to a head."""

    kind: Kind
    """A snapshot where the head does not follow from the one before: all pools are to be read anew."""
    head: Header
    changes: Changes
    before: dict[PoolId, Entry | None]
    """The pools that changed as they were."""
    dropped: tuple[Header, ...] = ()
    """Of a reorg: the blocks that are gone, descending."""
    is_whole: bool = True
    """All changed ticks are in it."""


class Timeline:
    def __init__(self, blocks: int) -> None:
        """`blocks`: so many are remembered."""
        self.pools: dict[PoolId, Entry] = {}
        self.heads: list[Header] = []
        """The canonical ones, ascending, each the parent of the next."""
        self.first = 0
        """The number of the oldest step that is remembered."""
        self.steps: deque[Step] = deque()
        self._blocks = blocks
        self._most_steps = STEPS_PER_BLOCK * blocks
        self._large: dict[int, int] = {}
        """Steps with large ticks, and their bytes."""

    @property
    def head(self) -> Header | None:
        return self.heads[-1] if self.heads else None

    @property
    def end(self) -> int:
        """The number of the next step."""
        return self.first + len(self.steps)

    def since(self, number: int) -> Iterator[Step]:
        return islice(self.steps, number - self.first, None)

    def step(self, number: int) -> Step:
        return self.steps[number - self.first]

    def headers(self) -> dict[str, Header]:
        """All that are remembered, of dropped blocks too."""
        return {header.hash: header for header in (*(step.head for step in self.steps), *self.heads)}

    def arrival(self, block: Block) -> int | None:
        """The number of the step by which the block became the head; None where it is not remembered.

        The first time: a chain may leave a block and come back to it, and pools change meanwhile.
        """
        for number in range(self.first, self.end):
            head = self.step(number).head
            if (head.number, head.hash) == (block.number, block.hash):
                return number
        return None

    def pools_before(self, number: int) -> Mapping[PoolId, Entry]:
        """As they were before that step and after the one before it."""
        if number == self.end:
            return self.pools
        pools = dict(self.pools)
        for at in reversed(range(number, self.end)):
            for pool, old in self.step(at).before.items():
                if old is None:
                    pools.pop(pool, None)
                else:
                    pools[pool] = old
        return pools

    def is_canonical(self, head: Header) -> bool:
        at = head.number - self.heads[0].number if self.heads else -1
        return 0 <= at < len(self.heads) and self.heads[at].hash == head.hash

    def apply(self, transition: Transition) -> list[Step]:
        """The steps that it is, with all their ticks; less is remembered of them."""
        steps: list[Step] = []
        for changes in transition.changes:
            if step := self._step(transition, changes):
                steps.append(step)
                self._remember(step)
        return steps

    def _step(self, transition: Transition, changes: Changes) -> Step | None:
        head, last = transition.head, self.head
        changes = {pool: new for pool, new in changes.items() if self._differs(pool, new)}
        kind = self._kind(transition)
        if kind == "block" and last is not None and last.hash == head.hash and not changes:
            return None
        dropped = self._move(kind, head)
        before = {pool: self.pools.get(pool) for pool in changes}
        for pool, new in changes.items():
            if new.entry is None:
                self.pools.pop(pool, None)
            else:
                self.pools[pool] = new.entry
        return Step(kind, head, changes, before, dropped)

    def _kind(self, transition: Transition) -> Kind:
        head, last = transition.head, self.head
        if last is None or transition.is_anew:
            return "snapshot"
        if last.hash in (head.hash, head.parent):
            return "block"
        return "reorg" if self.is_canonical(head) else "snapshot"

    def _move(self, kind: Kind, head: Header) -> tuple[Header, ...]:
        """Returns the blocks that a reorg drops, descending."""
        if kind == "snapshot":
            self.heads = [head]
        elif kind == "reorg":
            kept = head.number - self.heads[0].number + 1
            dropped = tuple(reversed(self.heads[kept:]))
            del self.heads[kept:]
            return dropped
        elif self.head != head:
            self.heads.append(head)
        return ()

    def _differs(self, pool: PoolId, new: Change) -> bool:
        """Blocks repeated after a worker's crash change nothing."""
        known = self.pools.get(pool)
        if new.entry is None or known is None:
            return (new.entry is None) != (known is None)
        return known.view != new.entry.view or new.ticks not in (None, NO_TICKS)

    def _remember(self, step: Step) -> None:
        if step.kind == "snapshot":
            self.first += len(self.steps)
            self.steps.clear()
            self._large.clear()
        self.steps.append(step)
        self._limit_ticks(step)
        while len(self.heads) > self._blocks:
            del self.heads[0]
        oldest = self.heads[0].number
        while len(self.steps) > 1 and (self.steps[1].head.number < oldest or len(self.steps) > self._most_steps):
            self.steps.popleft()
            self.first += 1

    def _limit_ticks(self, step: Step) -> None:
        if size := sum(map(_large_ticks, step.changes.values())):
            self._large[self.end - 1] = size
        while sum(self._large.values()) > MOST_LARGE_TICKS and len(self._large) > 1:
            number = min(self._large)
            del self._large[number]
            if number >= self.first:
                self.steps[number - self.first] = _without_large_ticks(self.step(number))


def _large_ticks(change: Change) -> int:
    """Their bytes; 0 where they are few."""
    size = len(change.ticks) if change.ticks is not None else 0
    return size if size > LARGE_TICKS else 0


def _without_large_ticks(step: Step) -> Step:
    kept = {pool: Change(new.entry) if _large_ticks(new) else new for pool, new in step.changes.items()}
    return msgspec.structs.replace(step, changes=kept, is_whole=False)
