"""Ownership as Faust's router says, and progress of recovery and reading. Faust's app and the table are stood in for:
assignments and offsets are set by hand."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.kafka.topics import topics
from tables.durable.table import Progress
from tables.partition import Partition
from tables.processing.processor import PartitionProcessor
from web.errors import HttpError
from web.owners.ownership import OwnedPartitions, Ownership
from web.owners.progress import STALLED_AFTER_S

CHANGELOG = "pools-changelog"
MINE, THEIRS = "http://127.0.0.1:6066", "http://127.0.0.1:6067"


class Table:
    name = "pools"
    changelog_topic_name = CHANGELOG

    def __init__(self) -> None:
        self.offsets: dict[int, dict[str, int]] = {}
        self.recovery: dict[int, Progress] = {}

    def owned(self) -> set[int]:
        return set(self.offsets)

    def ready(self, partition: int) -> bool:
        return partition in self.offsets

    def positions(self, partition: int) -> Mapping[str, int]:
        return self.offsets.get(partition, {})

    def progress(self) -> dict[int, Progress]:
        return self.recovery


class Worker:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.table = Table()
        self.ends: dict[TP, int] = {}
        self.assigned: dict[str, dict[str, list[int]]] = {
            f"{MINE}/": {CHANGELOG: [0, 1], "other": [3]},
            f"{THEIRS}/": {CHANGELOG: [2]},
        }
        app: Any = SimpleNamespace(
            router=SimpleNamespace(table_metadata=lambda _: self.assigned),
            conf=SimpleNamespace(canonical_url=f"{MINE}/"),
            consumer=SimpleNamespace(highwater=self.ends.get),
            assignor=SimpleNamespace(assigned_actives=lambda: {TP(CHANGELOG, 0), TP(CHANGELOG, 1)}),
        )
        table: Any = self.table
        self.ownership = Ownership(app, table, ["chain", "snapshots"], lambda: self.now_s)

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now_s += 1
            self.ownership.observe()


def test_urls_are_of_the_changelogs_partitions() -> None:
    worker = Worker()

    assert worker.ownership.urls() == {0: MINE, 1: MINE, 2: THEIRS}
    assert worker.ownership.own_url() == MINE


def test_a_partition_is_owned_from_its_assignment_on_and_ready_when_it_is_recovered() -> None:
    worker = Worker()
    worker.table.offsets = {1: {"chain": 5}}

    assert worker.ownership.owned() == {0, 1}
    assert [worker.ownership.ready(partition) for partition in (0, 1, 2)] == [False, True, False]


def test_a_partition_that_is_ready_is_owned_though_the_router_names_another_worker() -> None:
    worker = Worker()
    worker.table.offsets = {2: {}}

    assert worker.ownership.owned() == {0, 1, 2}


def test_a_first_recovery_that_moves_is_not_stalled_however_long_it_takes() -> None:
    worker = Worker()

    for offset in range(1000):
        worker.table.recovery = {0: Progress(offset, 5000), 1: Progress(200, 200)}
        worker.passes(1)

    assert worker.ownership.stalled() is None


def test_a_recovery_that_stands_still_is_stalled() -> None:
    worker = Worker()
    worker.table.recovery = {0: Progress(7, 5000)}

    worker.passes(STALLED_AFTER_S + 2)

    assert worker.ownership.stalled() == f"{CHANGELOG} partition 0 has been at record 7 of 5000 for 61 s"


def test_one_topic_that_stands_still_is_stalled_though_others_of_its_partition_move() -> None:
    worker = Worker()
    worker.ends |= {TP("chain", 0): 10, TP("snapshots", 0): 1000}

    for offset in range(100):
        worker.table.offsets = {0: {"chain": 3, "snapshots": offset}}
        worker.passes(1)

    assert worker.ownership.stalled() == "chain partition 0 has been at record 3 of 10 for 99 s"


def test_what_is_read_to_its_end_is_not_stalled() -> None:
    worker = Worker()
    worker.ends |= {TP("chain", 0): 10}
    worker.table.offsets = {0: {"chain": 10}}

    worker.passes(1000)

    assert worker.ownership.stalled() is None


def test_a_partition_that_is_not_recovered_answers_503() -> None:
    worker = Worker()
    processor = PartitionProcessor(topics("test"), 64)
    processor.partitions = {0: Partition(64), 1: Partition(64)}
    worker.table.offsets = {1: {}}
    owned = OwnedPartitions(processor, worker.ownership)

    assert owned.get(0) is None
    assert owned.require(1) is processor.partitions[1]
    with pytest.raises(HttpError, match="partition 0 is being recovered"):
        owned.require(0)
