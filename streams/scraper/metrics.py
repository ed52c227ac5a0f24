"""What the scraper counts."""

from prometheus_client import Counter, Gauge, Histogram

BATCH_SECONDS = Histogram("arena_scraper_batch_seconds", "From a batch's block to its records' acks", ["protocol"])
BATCHES = Counter("arena_scraper_batches_total", "Batches read, or given up and begun again", ["protocol", "outcome"])
BATCH_SIZE = Gauge("arena_scraper_batch_pools", "So many pools the next batch has at most", ["protocol"])
POOLS = Counter("arena_scraper_pools_total", "Pools read at a block", ["protocol", "outcome"])
WAITING = Gauge("arena_scraper_waiting_pools", "Pools that wait to be read", ["protocol"])
CONVERGENCE = Histogram(
    "arena_scraper_convergence_seconds",
    "From the first pool that waits for a snapshot, other than an audit's, to none waiting",
    buckets=(1, 5, 15, 60, 300, 600),
)
RETRIES = Counter("arena_scraper_retries_total", "Pools that could not be read, and are tried again", ["protocol"])
UNDECODABLE_REQUESTS = Counter("arena_scraper_unreadable_wishes_total", "Records of `wanted` that are none")
REFERENCE_BLOCKS = Counter("arena_scraper_announcements_total", "Reference blocks told on NATS, or not", ["outcome"])
