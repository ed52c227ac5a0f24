"""How late the event loop comes to a task that is due, as a histogram: that delays answers and heartbeats."""

import asyncio

from prometheus_client import Histogram

LOOP_LAG = Histogram(
    "arena_event_loop_lag_seconds",
    "How late the event loop came to a task that was due, of 100 tasks a second",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0),
)
EVERY_S = 0.01


async def observe_loop_lag() -> None:
    """For ever."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        LOOP_LAG.observe(loop.time() - due_s)
