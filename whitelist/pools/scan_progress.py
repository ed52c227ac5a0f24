"""How far the scan of the factories is: a bar where a person looks on, else a line now and then."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from whitelist.pools.factory_scan import Progress as Told

log = logging.getLogger(__name__)

LINE_EVERY_S = 10.0


@contextmanager
def shown() -> Iterator[Told]:
    if not sys.stderr.isatty():
        yield _lines()
        return
    columns = (TextColumn("pools of {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def told(factory: str, blocks: range, at: int) -> None:
            if factory not in tasks:
                tasks[factory] = bars.add_task(factory)
            bars.update(tasks[factory], total=len(blocks), completed=at - blocks.start)

        yield told


def _lines() -> Told:
    last = time.monotonic()

    def told(factory: str, blocks: range, at: int) -> None:
        nonlocal last
        if time.monotonic() - last < LINE_EVERY_S:
            return
        last = time.monotonic()
        share = 100 * (at - blocks.start) / max(1, len(blocks))
        log.info("Scanned for pools of %s up to block %d of %d, %.0f %%", factory, at, blocks.stop - 1, share)

    return told
