"""Prometheus metrics of the scraper."""

from prometheus_client import Counter, Gauge, Histogram

BATCH_SECONDS = Histogram(
    "arena_scraper_batch_seconds",
    "From a batch's block to its records' acks",
    ["protocol"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 9.6, 11, 15, 30, 60),
)
BATCHES = Counter("arena_scraper_batches_total", "Batches, by outcome", ["protocol", "outcome"])
BATCH_SIZE = Gauge("arena_scraper_batch_pools", "The next batch's largest number of pools", ["protocol"])
POOLS = Counter("arena_scraper_pools_total", "Pools read, by outcome", ["protocol", "outcome"])
WAITING = Gauge("arena_scraper_waiting_pools", "Pools with a queued snapshot request", ["protocol"])
CONVERGENCE = Histogram(
    "arena_scraper_convergence_seconds",
    "From the first request that is not an audit to an empty queue",
    buckets=(1, 5, 15, 60, 300, 600),
)
CONVERGING = Gauge(
    "arena_scraper_converging_seconds",
    "Since the first request that is not an audit and not yet followed by an empty queue; 0: converged",
)
RETRIES = Counter("arena_scraper_retries_total", "Pools that could not be read and are tried again", ["protocol"])
UNDECODABLE_REQUESTS = Counter("arena_scraper_undecodable_requests_total", "Records of `wanted` that are no request")
REFERENCE_BLOCKS = Counter("arena_scraper_reference_blocks_total", "Reference blocks for NATS, by outcome", ["outcome"])
