"""Folds the records of one partition up to a block, with the worker's own functions. Pure: no I/O, no clock."""

from collections.abc import Iterable

from aiokafka import ConsumerRecord

from protocols.types import Block
from streams.kafka.records import Header, SnapshotRecord
from tables.fold import fold_snapshot
from tables.partition import Changes, Partition
from tables.processing.record_fold import fold_record


class SnapshotBuffer:
    """Snapshots that were read, by the hash of their block, until that block is beyond the memory."""

    def __init__(self) -> None:
        self._by_hash: dict[str, list[tuple[SnapshotRecord, int]]] = {}

    def add(self, snapshot: SnapshotRecord, offset: int) -> None:
        self._by_hash.setdefault(snapshot.block.hash, []).append((snapshot, offset))

    def of(self, block_hash: str) -> Iterable[tuple[SnapshotRecord, int]]:
        return self._by_hash.get(block_hash, ())

    def forget_before(self, number: int) -> None:
        for block_hash, snapshots in list(self._by_hash.items()):
            if snapshots[0][0].block.number < number:
                del self._by_hash[block_hash]


class PartitionReplay:
    """A snapshot is folded when the head is its block, whenever the record came: a worker that got it later holds or
    rewinds to the same state, because the order between topics does not matter (rule 4)."""

    def __init__(self, memory_blocks: int) -> None:
        self.partition = Partition(memory_blocks)
        self.snapshots = SnapshotBuffer()
        self.undecodable = 0
        """Records of `whitelist` and `chain` that are not what their topic holds."""
        self._changes = Changes(self.partition)

    @property
    def head(self) -> Header | None:
        return self.partition.chain.head

    def list_pools(self, records: Iterable[ConsumerRecord]) -> None:
        """All records of `whitelist`: the list as it is now, for a compacted topic has no earlier one."""
        for record in records:
            if fold_record(self._changes, "whitelist", record):
                self.undecodable += 1
        self._changes = Changes(self.partition)

    def fold(self, record: ConsumerRecord) -> Changes | None:
        """Folds a record of `chain`. Returns the changes of the block that it completed, if any."""
        before = self.head
        if fold_record(self._changes, "chain", record):
            self.undecodable += 1
        if record.key is not None:
            return None
        changes, self._changes = self._changes, Changes(self.partition)
        head = self.head
        if head is None or head is before or (before and head.number < before.number):
            return None
        self._fold_snapshots(changes, head)
        self.snapshots.forget_before(head.number - self.partition.memory_blocks)
        return changes

    def _fold_snapshots(self, changes: Changes, head: Header) -> None:
        for block_hash in (head.parent, head.hash):
            for snapshot, offset in self.snapshots.of(block_hash):
                fold_snapshot(changes, snapshot, offset)


def is_at(replay: PartitionReplay, block: Block) -> bool:
    return replay.head is not None and (replay.head.number, replay.head.hash) == (block.number, block.hash)
