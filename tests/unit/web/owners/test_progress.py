"""A time per topic partition: one that is stuck is not hidden by others that move."""

from tables.durable.table import Progress
from web.owners.progress import STALLED_AFTER_S, ProgressMonitor


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.monitor = ProgressMonitor(lambda: self.now_s)

    def passes(self, seconds: float, **progress: tuple[int, int]) -> None:
        """Of the partition of each topic, offset and end, for as long as that."""
        for _ in range(int(seconds)):
            self.now_s += 1
            self.monitor.observe({(topic, 0): Progress(*each) for topic, each in progress.items()})


def test_nothing_assigned_is_not_stalled() -> None:
    world = World()

    world.passes(1000)

    assert world.monitor.stalled() is None


def test_a_stuck_partition_is_named_though_another_one_moves() -> None:
    world = World()

    for offset in range(100):
        world.passes(1, stuck=(5, 9), moving=(offset, 1000))

    assert world.monitor.stalled() == "stuck partition 0 has been at record 5 of 9 for 99 s"


def test_a_partition_that_moves_slowly_is_not_stalled() -> None:
    world = World()

    for offset in range(20):
        world.passes(STALLED_AFTER_S - 1, slow=(offset, 1000))

    assert world.monitor.stalled() is None


def test_what_was_read_to_the_end_for_long_is_not_stalled_by_one_more_record() -> None:
    world = World()

    world.passes(1000, quiet=(9, 9))
    world.passes(1, quiet=(9, 10))

    assert world.monitor.stalled() is None


def test_a_partition_that_moves_again_is_no_longer_stalled() -> None:
    world = World()
    world.passes(100, topic=(5, 9))
    before = world.monitor.stalled()

    world.passes(1, topic=(6, 9))

    assert before
    assert world.monitor.stalled() is None


def test_a_partition_that_was_revoked_and_assigned_again_starts_anew() -> None:
    world = World()
    world.passes(100, topic=(5, 9))

    world.passes(1)
    world.passes(1, topic=(5, 9))

    assert world.monitor.stalled() is None


def test_a_monitor_that_was_not_called_for_long_reports_nothing() -> None:
    world = World()
    world.passes(1, topic=(9, 9))
    world.now_s += 1000
    world.passes(1, topic=(9, 20))

    assert world.monitor.stalled() is None
