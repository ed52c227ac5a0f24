"""Shows how far the factory scan is: progress bars on a terminal, else a log line every ten seconds."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from whitelist.pools.factory_scan import ScanProgress

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0


@contextmanager
def progress_display() -> Iterator[ScanProgress]:
    if not sys.stderr.isatty():
        yield _log_lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[range, TaskID] = {}

        def show(blocks: range, next_block: int) -> None:
            if blocks not in tasks:
                tasks[blocks] = bars.add_task(f"factories' logs from block {blocks.start}")
            bars.update(tasks[blocks], total=len(blocks), completed=next_block - blocks.start)

        yield show


def _log_lines() -> ScanProgress:
    last_line = time.monotonic()

    def show(blocks: range, next_block: int) -> None:
        nonlocal last_line
        if time.monotonic() - last_line < LOG_INTERVAL_S:
            return
        last_line = time.monotonic()
        percent = 100 * (next_block - blocks.start) / max(1, len(blocks))
        log.info("scanned the factories' logs up to block %d of %d, %.0f %%", next_block, blocks.stop - 1, percent)

    return show
