"""A worker's Prometheus metrics."""

from prometheus_client import Counter, Gauge, Histogram

from tables.live import Live
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

_COUNTED = {
    "applied": BLOCKS_APPLIED,
    "rewinds": REWINDS,
    "audits": AUDITS,
    "divergences": DIVERGENCES,
    "snapshots": SNAPSHOTS,
    "rejected": REJECTED,
}


def count_pool(before: Pool | None, after: Pool | None) -> None:
    """Adds the growth of a pool's story."""
    if before is None or after is None:
        return
    for field, counter in _COUNTED.items():
        more = getattr(after.story, field) - getattr(before.story, field)
        if more > 0:
            counter.inc(more)


def status(pool: Pool) -> str:
    return "live" if isinstance(pool.life, Live) else "waiting"
