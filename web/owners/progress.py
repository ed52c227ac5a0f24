"""Which of this worker's partitions have work to do and make no progress."""

import time
from collections.abc import Callable, Mapping

from tables.durable.table import Progress

STALLED_AFTER_S = 60.0


class ProgressMonitor:
    """Remembers of each topic partition when it last moved, or had nothing to do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, int], tuple[Progress, float]] = {}

    def observe(self, progress: Mapping[tuple[str, int], Progress]) -> None:
        """By topic and partition; one that is not given is forgotten."""
        now = self._clock()
        self._seen = {each: (seen, self._moved_s(each, seen, now)) for each, seen in progress.items()}

    def stalled(self) -> str | None:
        """Of the one that has not moved for the longest time; None where all move or have nothing to do."""
        if not self._seen:
            return None
        (topic, partition), (progress, moved_s) = min(self._seen.items(), key=lambda item: item[1][1])
        idle_s = self._clock() - moved_s
        if idle_s <= STALLED_AFTER_S or progress.offset >= progress.end:
            return None
        return (
            f"{topic} partition {partition} has been at record {progress.offset} of {progress.end} for {idle_s:.0f} s"
        )

    def _moved_s(self, each: tuple[str, int], progress: Progress, now: float) -> float:
        before, moved_s = self._seen.get(each, (progress, now))
        return moved_s if progress.offset == before.offset < before.end else now
