"""One partition of topic `updates`: its records as groups of changes, each closed by a head or a reorg. Pure."""

from typing import NamedTuple

import msgspec

from streams.kafka.records import Header
from streams.updates import Closing, PoolChanged, PoolRemoved, ReorgClosed, UpdatesRecord
from web.stream.chain.changes import REMOVED, Changes, change, with_part


class Finality(NamedTuple):
    safe: int | None = None
    finalized: int | None = None
    chain_id: int | None = None


class Group(msgspec.Struct, frozen=True):
    """What changed until the partition was at a head; it may have been there before."""

    head: Header | None
    """None before the partition's first block, and after a gap."""
    changes: tuple[Changes, ...]
    """To be applied in this order."""
    finality: Finality = Finality()
    is_anew: bool = False
    """It is all pools of the partition, read from its owner."""


class LostRecords(Exception):
    """The pools of the partition are no longer known, and are to be read from its owner again."""

    def __init__(self, partition: int, expected: int, received: int) -> None:
        super().__init__(f"partition {partition} of the updates: {received} of {expected} changes arrived")


class PartitionLog:
    """Groups are whole: of a writer that ended amid one, the next writer repeats it."""

    def __init__(self, partition: int, epoch: int = 0, head: Header | None = None) -> None:
        """`epoch` and `head` are those of the pools to which the groups are applied; the log may begin before them."""
        self._partition = partition
        self._epoch = epoch
        self._open: Changes = {}
        self._received = 0
        self._is_first = True
        self._head = head
        """Of the last group."""
        self._repeated: list[Changes] | None = [] if head else None
        """Groups up to the last head once more, until it is reached."""

    def add(self, record: UpdatesRecord) -> Group | None:
        """A group where the record closes one. Raises LostRecords."""
        if record.epoch < self._epoch:
            return None
        starts_over = record.epoch > self._epoch > 0
        if record.epoch > self._epoch:
            self._epoch, self._open, self._received = record.epoch, {}, 0
        if starts_over and self._repeated is None:
            self._repeated = []
        match record:
            case PoolChanged():
                self._received += 1
                pool, found = change(record)
                self._open[pool] = with_part(self._open[pool], found) if pool in self._open else found
                return None
            case PoolRemoved():
                self._received += 1
                self._open[record.id] = REMOVED
                return None
            case _:
                return self._close(record)

    def _close(self, closing: Closing) -> Group | None:
        changes, received, is_first = self._open, self._received, self._is_first
        self._open, self._received, self._is_first = {}, 0, False
        if closing.pools != received and not is_first:
            raise LostRecords(self._partition, closing.pools, received)
        if isinstance(closing, ReorgClosed):
            if self._head is not None and self._head.hash in {block.hash for block in closing.dropped}:
                self._head = closing.ancestor
            return self._group(closing.ancestor, changes, Finality())
        return self._group(closing.block, changes, Finality(closing.safe, closing.finalized, closing.chain_id))

    def _group(self, head: Header | None, changes: Changes, finality: Finality) -> Group | None:
        if self._repeated is None:
            self._head = head
            return Group(head, (changes,), finality)
        self._repeated.append(changes)
        if self._is_behind(head):
            return None
        repeated, self._repeated, self._head = self._repeated, None, head
        return Group(head, tuple(repeated), finality)

    def _is_behind(self, head: Header | None) -> bool:
        """The chain is read again from an older block: it leads to the last head once more."""
        last = self._head
        if last is None:
            return False
        return head is None or head.number < last.number or (head.number == last.number and head.hash != last.hash)
