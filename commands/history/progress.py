"""A progress bar on standard error, with the rate and the time that is left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

TEXT = "{task.description}: {task.completed:,.0f} of {task.total:,.0f}, {task.fields[rate]:,.0f}/s"


class Bars:
    """One bar for each thing that is counted; the rate is of this run."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._bars: dict[str, tuple[TaskID, float, int]] = {}

    def update(self, what: str, done: int, total: int) -> None:
        """`what` in the plural: records, blocks."""
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total, rate=0.0), self._clock(), done
        bar, began_s, first = self._bars[what]
        rate = (done - first) / max(self._clock() - began_s, 0.1)
        self._progress.update(bar, completed=done, total=total, rate=rate)


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Bars]:
    """Nothing is shown where standard error is no terminal."""
    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    with Progress(TextColumn(TEXT), BarColumn(), TimeRemainingColumn(), console=console) as progress:
        yield Bars(progress)
