"""What the readers of one finality have been sent, and the steps that come next for them. Pure."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from protocols.types import Block, PoolId
from streams.kafka.records import Header
from web.stream.chain.changes import Entry, merged
from web.stream.chain.timeline import Step, Timeline

Limit = Callable[[], int | None]
"""The number of the newest block that may be sent; None: not known."""


class Channel:
    """Follows the timeline up to a limit; of what is beyond it, only what is still canonical when the limit moves."""

    def __init__(self, timeline: Timeline, limit: Limit | None = None) -> None:
        self._timeline = timeline
        self._limit = limit
        self.head: Header | None = None
        """The block that the readers are at."""
        self.position = 0
        """The number of the timeline's step that comes next."""

    def start(self) -> bool:
        """At the newest block that may be sent; False where that is not remembered."""
        for number in reversed(range(self._timeline.first, self._timeline.end)):
            step = self._timeline.step(number)
            if self._may_send(step) and self._timeline.is_canonical(step.head):
                self.head, self.position = step.head, number + 1
                return True
        return False

    def pools(self) -> Mapping[PoolId, Entry]:
        """As of the head."""
        return self._timeline.pools_before(self.position)

    def advance(self) -> list[Step]:
        """Steps that can be sent now, until there are none; a snapshot is the last of its list, of the pools then."""
        if self.head is None:
            return []
        if self.position < self._timeline.first:
            return self._restarted()
        if self._limit is not None and not self._timeline.is_canonical(self.head):
            return self._reorganised(self.head)
        return list(self._next_steps())

    def _next_steps(self) -> Iterator[Step]:
        for step in list(self._timeline.since(self.position)):
            if self._limit is not None and not self._timeline.is_canonical(step.head):
                self.position += 1
                continue
            if not self._may_send(step):
                return
            self.position += 1
            self.head = step.head
            yield step if self._limit is None or step.kind != "reorg" else msgspec.structs.replace(step, kind="block")
            if step.kind == "snapshot":
                return

    def _restarted(self) -> list[Step]:
        if not self.start() or self.head is None:
            return []
        return [Step("snapshot", self.head, {}, {})]

    def _reorganised(self, head: Header) -> list[Step]:
        """Blocks that were taken for final are gone."""
        found = rewound(self._timeline, Block(head.number, head.hash))
        if found is None:
            return self._restarted()
        steps, self.position = found
        self.head = steps[-1].head if steps else self.head
        return steps

    def _may_send(self, step: Step) -> bool:
        if self._limit is None:
            return True
        limit = self._limit()
        return limit is not None and step.head.number <= limit

    def resume(self, seen: Block, *, ticks: bool) -> list[Step] | None:
        """From a block that a reader has seen to where the others are; None: it needs a snapshot."""
        steps = self._resume_to_head(seen) if self._limit is None else self._resume_below_limit(seen)
        if steps is None or (ticks and not all(step.is_whole for step in steps)):
            return None
        return steps

    def _resume_to_head(self, seen: Block) -> list[Step] | None:
        found = rewound(self._timeline, seen)
        if found is None:
            return None
        steps, number = found
        return steps + [self._timeline.step(at) for at in range(number, self.position)]

    def _resume_below_limit(self, seen: Block) -> list[Step] | None:
        at = self._timeline.arrival(seen)
        if at is None or not self._timeline.is_canonical(self._timeline.step(at).head):
            return None
        if self.head is None or seen.number > self.head.number:
            return None
        steps = (self._timeline.step(number) for number in range(at + 1, self.position))
        return [
            msgspec.structs.replace(step, kind="block") if step.kind == "reorg" else step
            for step in steps
            if self._timeline.is_canonical(step.head)
        ]


def rewound(timeline: Timeline, seen: Block) -> tuple[list[Step], int] | None:
    """From a block that was the head once to its newest ancestor that still counts, as one step; and what comes next.

    No step where the block itself counts; None where it is not remembered.
    """
    at = timeline.arrival(seen)
    if at is None:
        return None
    own = _chain_of(timeline, timeline.step(at).head)
    hashes = {header.hash for header in own}
    for number in reversed(range(at + 1, timeline.end)):
        step = timeline.step(number)
        if step.kind == "reorg" and step.head.hash in hashes:
            steps = [timeline.step(each) for each in range(at + 1, number + 1)]
            return _as_one(steps, own), number + 1
    return [], at + 1


def _as_one(steps: list[Step], own: list[Header]) -> list[Step]:
    """The last of them ends at a block of `own`, the reader's chain, descending."""
    ancestor = steps[-1].head
    dropped = tuple(header for header in own if header.number > ancestor.number)
    is_whole = all(step.is_whole for step in steps)
    parts = merged(step.changes for step in steps)
    first = Step("reorg" if dropped else "block", ancestor, parts[0], {}, dropped, is_whole)
    return [first, *(Step("block", ancestor, part, {}, (), is_whole) for part in parts[1:])]


def _chain_of(timeline: Timeline, head: Header) -> list[Header]:
    """The block and its ancestors, as far as they are remembered, descending."""
    by_hash = timeline.headers()
    found: list[Header] = []
    current: Header | None = head
    while current is not None:
        found.append(current)
        current = by_hash.get(current.parent)
    return found
