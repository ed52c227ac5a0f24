"""How many pools are read at one block: the configured sizes, and those learned from the batches before. Pure."""

import msgspec

from protocols.registry import dex_of
from protocols.types import Block, PoolId, ProtocolName
from settings import Pin, Settings
from streams.snapshots.pool_reader import Phase

LARGEST = 5_000
GROWTH = 2.0
"""The largest factor from one batch to the next: few pools say little about many."""
NEWEST = 0.5
"""The weight of the last batch in the rate."""


class BatchConfig(msgspec.Struct, frozen=True):
    block_time_seconds: float = 12.0
    safety_margin: float = 0.8
    """The part of the block time that a batch may take."""
    v2_batch_size: int = 200
    v3_slot0_batch_size: int = 150
    v4_slot0_batch_size: int = 100
    v3_full_ticks_batch_size: int = 30
    v4_full_ticks_batch_size: int = 20
    wait_for_next_block: bool = False
    """Batches of a protocol are then at different blocks, which spreads their load; nothing else depends on it."""
    adaptive: bool = True
    """The sizes are only where it begins: then a batch is as large as can be read in its part of a block."""
    parallel: bool = True
    """The protocols side by side; else one batch at a time."""
    pin: Pin = "latest"
    """Which block a batch is read at."""

    @property
    def budget_s(self) -> float:
        return self.block_time_seconds * self.safety_margin

    def size(self, protocol: ProtocolName, phase: Phase = "full_ticks") -> int:
        """A protocol without sizes of its own has the smallest of the others."""
        if not dex_of(protocol).has_ticks:
            return self.v2_batch_size
        sizes = {
            ("v3", "filtering"): self.v3_slot0_batch_size,
            ("v4", "filtering"): self.v4_slot0_batch_size,
            ("v3", "full_ticks"): self.v3_full_ticks_batch_size,
            ("v4", "full_ticks"): self.v4_full_ticks_batch_size,
        }
        return sizes.get((protocol, phase), min(sizes.values()))


class BatchResult(msgspec.Struct, frozen=True):
    batch_number: int
    """Counts from 1 with the scraper's start."""
    protocol: ProtocolName
    batch_type: Phase
    reference_block: Block
    pools_requested: int
    pools_scraped: int = 0
    """With a state, or with the reason why the chain has none."""
    failed: tuple[PoolId, ...] = ()
    """Tried again, after the others."""
    duration_seconds: float = 0.0
    error: str | None = None
    """Why nothing of the batch counts; then it begins again at another block."""

    @property
    def success(self) -> bool:
        return self.error is None and not self.failed


def batch_config(settings: Settings) -> BatchConfig:
    return BatchConfig(
        block_time_seconds=settings.scraper_block_time_s,
        wait_for_next_block=settings.scraper_wait_for_next_block,
        adaptive=settings.scraper_adaptive,
        parallel=settings.scraper_parallel,
        pin=settings.scraper_pin,
    )


class BatchSizes:
    def __init__(self, config: BatchConfig) -> None:
        self._config = config
        self._sizes: dict[tuple[ProtocolName, Phase], int] = {}
        self._rates: dict[tuple[ProtocolName, Phase], float] = {}

    def next(self, protocol: ProtocolName, phase: Phase = "full_ticks") -> int:
        return self._sizes.get((protocol, phase), self._config.size(protocol, phase))

    def learn(self, result: BatchResult) -> None:
        kind = result.protocol, result.batch_type
        if not self._config.adaptive or result.duration_seconds <= 0:
            return
        if result.error is not None:
            self._sizes[kind] = max(1, self.next(*kind) // 2)
            return
        newest = result.pools_scraped / result.duration_seconds
        self._rates[kind] = NEWEST * newest + (1 - NEWEST) * self._rates.get(kind, newest)
        fitting = int(self._rates[kind] * self._config.budget_s)
        before = self.next(*kind)
        largest = int(before * GROWTH) if result.pools_requested >= before else before
        self._sizes[kind] = max(1, min(fitting, largest, LARGEST))
