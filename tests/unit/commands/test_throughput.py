import pytest

from commands.throughput import Timing, percentile, rates
from streams.scraper.batch_size import BatchConfig


def test_the_batch_size_is_what_is_read_in_the_safe_part_of_a_block() -> None:
    """45.2 pools/s make batches of 433.9 pools: the figures of the seed's own summary."""
    timings = [Timing("v2", "filtering", False, 10.0, 452, 0, 0), Timing("v2", "filtering", True, 10.0, 1, 0, 0)]

    (rate,) = rates(timings, BatchConfig())

    assert rate.pools_per_second == pytest.approx(45.2)
    assert rate.batch_size == 433


def test_percentiles_lie_between_the_values() -> None:
    assert percentile([3.0], 99) == 3.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([1.0, 2.0], 90) == pytest.approx(1.9)
