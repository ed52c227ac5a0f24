"""The size of the next batch, by how fast the last ones were. PURE."""

from protocols.types import ProtocolName
from streams.scraper.config import BatchConfig, BatchResult
from streams.snapshots.pool_reader import Phase

LARGEST = 5_000
GROWTH = 2.0
"""At most, from one batch to the next: what was measured on few pools says little of many."""
NEWEST = 0.5
"""The weight of the last batch in the rate."""


class Sizes:
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
