"""A worker's Prometheus metrics."""

from collections.abc import Iterable
from operator import attrgetter

from prometheus_client import Counter, Gauge, Histogram

from tables.live import Live
from tables.partition import PoolChange
from tables.pool import Pool

RECORDS = Counter("arena_records_total", "Records folded, by topic", ["topic"])
DEAD_LETTERS = Counter("arena_dead_letters_total", "Records that could not be read or applied, by topic", ["topic"])
LOST = Counter("arena_lost_records_total", "Records that a topic dropped before they were read, by topic", ["topic"])
for source in ("whitelist", "snapshots", "chain"):
    for counter in (RECORDS, DEAD_LETTERS, LOST):
        counter.labels(source)  # a series that begins at 1 does not increase for Prometheus
BLOCKS_APPLIED = Counter("arena_pool_blocks_total", "Blocks in which something happened to a live pool")
REWINDS = Counter("arena_rewinds_total", "Pools rewound by a reorg")
AUDITS = Counter("arena_audits_total", "Live pools compared with a snapshot")
DIVERGENCES = Counter("arena_divergences_total", "Audits that found a difference")
SNAPSHOTS = Counter("arena_snapshots_total", "Pools made live by a snapshot")
REJECTED = Counter("arena_snapshots_refused_total", "Snapshots too old, of another fork, or impossible")
WAITED = Histogram(
    "arena_pool_waited_seconds",
    "From a pool's waiting to its being live, as this worker saw it",
    buckets=(0.5, 1, 2, 5, 15, 60, 300, 600),
)
POOLS = Gauge("arena_pools", "Pools of the partitions owned, by status", ["status"])
WAITING = Gauge("arena_waiting_pools", "Waiting pools of the partitions owned, by the kind of their reason", ["kind"])
HEAD = Gauge("arena_head_block", "Last complete block, by partition", ["partition"])
LAG = Gauge("arena_head_lag_seconds", "Age of the last complete block's timestamp, by partition", ["partition"])

_COUNTERS = (BLOCKS_APPLIED, REWINDS, AUDITS, DIVERGENCES, SNAPSHOTS, REJECTED)
_counts = attrgetter("applied", "rewinds", "audits", "divergences", "snapshots", "rejected")
"""Of a story, in the order of the counters."""


def count_changes(changes: Iterable[PoolChange]) -> None:
    """Adds the growth of the pools' stories."""
    grown = [0] * len(_COUNTERS)
    for _, before, after in changes:
        if before is None or after is None or before.story is after.story:
            continue
        for at, (old, new) in enumerate(zip(_counts(before.story), _counts(after.story), strict=True)):
            if new > old:
                grown[at] += new - old
    for counter, more in zip(_COUNTERS, grown, strict=True):
        if more:
            counter.inc(more)


def status(pool: Pool) -> str:
    return "live" if isinstance(pool.life, Live) else "waiting"
