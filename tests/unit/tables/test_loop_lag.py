"""The histogram of the event loop's lag."""

import asyncio
import time

from tables.processing.loop_lag import LOOP_LAG, observe_loop_lag


def slow_turns() -> float:
    """Observations of more than 20 ms so far."""
    (metric,) = LOOP_LAG.collect()
    samples = {sample.labels.get("le"): float(sample.value) for sample in metric.samples}
    return samples["+Inf"] - samples["0.02"]


async def test_a_turn_that_takes_long_is_in_the_histogram() -> None:
    before = slow_turns()
    task = asyncio.create_task(observe_loop_lag())
    await asyncio.sleep(0)

    time.sleep(0.1)
    await asyncio.sleep(0.02)

    task.cancel()
    assert slow_turns() > before
