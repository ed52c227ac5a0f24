"""The partitions' groups as blocks that are complete across all of them. Pure.

Each partition is a path of heads, at its own pace: blocks, reorgs back to an ancestor, and the same head again where
pools changed between two blocks. The assembled chain moves to a head that all paths lead to, and they with it.
"""

from collections.abc import Iterator

import msgspec

from streams.kafka.records import Header
from web.stream.chain.changes import Changes, merged
from web.stream.chain.partition_log import Finality, Group


class Transition(msgspec.Struct, frozen=True):
    """All partitions are at this head; what changed since the last one."""

    head: Header
    changes: tuple[Changes, ...]
    """To be applied in this order; all are as of the head."""
    is_anew: bool = False
    """The pools of a partition were read from its owner."""


class _Path:
    """What a partition has done since it was at the assembled head."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.is_at_head = False
        """False until the partition's first group is taken."""

    def reach(self, head: Header, current: Header | None) -> int | None:
        """How many groups lead to that head, with those that change pools at it; None where none does."""
        stays = self.is_at_head and current is not None and head.hash == current.hash
        first = 0 if stays else next((at for at, group in enumerate(self.groups, 1) if _is_at(group, head)), None)
        if first is None:
            return None
        end = first
        while end < len(self.groups) and _is_at(self.groups[end], head):
            end += 1
        return end

    def take(self, count: int) -> list[Group]:
        taken, self.groups = self.groups[:count], self.groups[count:]
        self.is_at_head = True
        return taken


class Assembler:
    def __init__(self, partitions: int) -> None:
        self.head: Header | None = None
        self.finality = Finality()
        self._paths = [_Path() for _ in range(partitions)]
        self.newest: int | None = None
        """The highest head of any partition."""

    def add(self, partition: int, group: Group) -> None:
        self._paths[partition].groups.append(group)
        if group.head is not None:
            self.newest = max(group.head.number, self.newest or 0)

    def restart(self, partition: int) -> None:
        """Its pools are read again: its next group is all of them."""
        self._paths[partition] = _Path()

    def transitions(self) -> Iterator[Transition]:
        """What all partitions have done by now."""
        while (found := self._next()) is not None:
            yield found

    def _next(self) -> Transition | None:
        for head in self._candidates():
            counts = [path.reach(head, self.head) for path in self._paths]
            if all(count is not None for count in counts) and any(counts):
                groups = [path.take(count or 0) for path, count in zip(self._paths, counts, strict=True)]
                self.head = head
                is_anew = any(group.is_anew for each in groups for group in each)
                return Transition(head, self._merged(groups), is_anew)
        return None

    def _candidates(self) -> Iterator[Header]:
        """In the order in which a partition was there: that of the fewest groups, which must all be waited for."""
        shortest = min(self._paths, key=lambda path: len(path.groups))
        if shortest.is_at_head and self.head is not None:
            yield self.head
        yield from (group.head for group in shortest.groups if group.head is not None)

    def _merged(self, groups: list[list[Group]]) -> tuple[Changes, ...]:
        """Partitions share no pool."""
        by_partition = [merged(changes for group in each for changes in group.changes) for each in groups]
        for each in groups:
            for group in each:
                self._learn(group.finality)
        first = _union(each[0] for each in by_partition)
        second = _union(each[1] for each in by_partition if len(each) > 1)
        return (first, second) if second else (first,)

    def _learn(self, said: Finality) -> None:
        known = self.finality
        self.finality = Finality(
            *(new if new is not None else old for new, old in zip(said, known, strict=True)),
        )


def _is_at(group: Group, head: Header) -> bool:
    return group.head is not None and group.head.hash == head.hash


def _union(several: Iterator[Changes]) -> Changes:
    together: Changes = {}
    for changes in several:
        together |= changes
    return together
