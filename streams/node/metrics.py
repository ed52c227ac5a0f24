"""Prometheus metrics of the requests to the node."""

from prometheus_client import Counter

REQUESTS = Counter("arena_node_requests_total", "Requests to the node, batches as one", ["outcome"])
RATE_LIMITED = Counter("arena_node_rate_limited_total", "Calls that a rate limit of the node refused")
ANSWERED, FAILED, REFUSED = (REQUESTS.labels(outcome) for outcome in ("answered", "failed", "rate limited"))
CALLS = Counter("arena_node_calls_total", "Calls to the node, each of a batch")
BYTES = Counter("arena_node_bytes_total", "Bytes of JSON to and from the node", ["direction"])
SENT, RECEIVED = BYTES.labels("sent"), BYTES.labels("received")
BLOCKS_WITHOUT_LOGS = Counter(
    "arena_node_blocks_ruled_out_total", "Blocks whose logs were not asked for, because their bloom filter has none"
)
