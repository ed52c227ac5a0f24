import pytest

from protocols.types import Block, ProtocolName
from streams.scraper.batch_size import LARGEST, BatchConfig, BatchResult, BatchSizes
from streams.snapshots.pool_reader import Phase

BLOCK = Block(7, "0x07")


def result(pools: int, seconds: float, protocol: ProtocolName = "v3", error: str | None = None) -> BatchResult:
    return BatchResult(1, protocol, "full_ticks", BLOCK, pools, pools, (), seconds, error)


@pytest.mark.parametrize(
    ("protocol", "phase", "size"),
    [
        ("v2", "filtering", 200),
        ("v2", "full_ticks", 200),
        ("v3", "filtering", 150),
        ("v4", "filtering", 100),
        ("v3", "full_ticks", 30),
        ("v4", "full_ticks", 20),
    ],
)
def test_the_configured_sizes_come_first(protocol: ProtocolName, phase: Phase, size: int) -> None:
    assert BatchSizes(BatchConfig()).next(protocol, phase) == size


def test_batches_converge_to_the_budget_within_a_block() -> None:
    sizes, pools_per_second = BatchSizes(BatchConfig()), 40.0
    for _ in range(20):
        sizes.learn(result(sizes.next("v3"), sizes.next("v3") / pools_per_second))

    assert sizes.next("v3") == pytest.approx(0.8 * 12 * pools_per_second, abs=1)


def test_a_slower_node_gets_smaller_batches_at_once() -> None:
    sizes = BatchSizes(BatchConfig())
    for _ in range(10):
        sizes.learn(result(sizes.next("v3"), sizes.next("v3") / 100))
    before = sizes.next("v3")

    sizes.learn(result(before, before / 10))

    assert sizes.next("v3") < 0.6 * before


def test_only_full_batches_grow_and_up_to_the_largest() -> None:
    sizes = BatchSizes(BatchConfig())
    sizes.learn(result(3, 0.001))
    assert sizes.next("v3") == 30
    for _ in range(30):
        sizes.learn(result(sizes.next("v3"), 0.001))
    assert sizes.next("v3") == LARGEST


def test_a_failed_batch_halves_the_next_down_to_one_pool() -> None:
    sizes = BatchSizes(BatchConfig())
    sizes.learn(result(30, 5.0, error="the block is gone"))
    assert sizes.next("v3") == 15
    for _ in range(10):
        sizes.learn(result(1, 5.0, error="the block is gone"))
    assert sizes.next("v3") == 1


def test_protocols_do_not_change_each_others_sizes() -> None:
    sizes = BatchSizes(BatchConfig())
    sizes.learn(result(200, 1.0, "v2"))

    assert (sizes.next("v3"), sizes.next("v4")) == (30, 20)


def test_sizes_that_are_not_adaptive_stay() -> None:
    sizes = BatchSizes(BatchConfig(adaptive=False))
    sizes.learn(result(30, 0.1))

    assert sizes.next("v3") == 30
