"""Prometheus metrics of the service."""

from prometheus_client import Counter, Gauge, Histogram

from whitelist.publication.store import Build

STEP_SECONDS = Histogram(
    "arena_whitelist_step_seconds",
    "Time that each step of a build takes",
    ["step"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200),
)
BUILDS = Counter("arena_whitelist_builds", "Builds by outcome: published, refused or failed", ["outcome"])
SOURCE_AGE_S = Gauge("arena_whitelist_source_age_seconds", "Age of the answer in use of a source", ["source"])
SOURCE_TOKENS = Gauge("arena_whitelist_source_tokens", "Tokens that a source chose", ["source"])
SOURCE_FAILING = Gauge("arena_whitelist_source_failing", "1 while a source gives no good answer", ["source"])
POOLS = Gauge("arena_whitelist_pools", "Pools of the last build: listed or rejected", ["decision"])
BLOCK = Gauge("arena_whitelist_block", "The block of the last build")
MESSAGES = Counter("arena_whitelist_messages", "Messages that NATS acknowledged", ["subject"])
CHANGES = Counter("arena_whitelist_changes", "Pools that published lists added or removed", ["change"])
RESEEDS = Counter("arena_whitelist_reseeds", "Reseed requests answered")


def record_build(build: Build) -> None:
    for name, report in build.sources.items():
        if report.age_s is not None:
            SOURCE_AGE_S.labels(name).set(report.age_s)
        SOURCE_TOKENS.labels(name).set(report.tokens)
        SOURCE_FAILING.labels(name).set(report.status in ("stale", "failed"))
    POOLS.labels("listed").set(len(build.pools))
    POOLS.labels("rejected").set(len(build.rejected) + build.omitted)
    BLOCK.set(build.block.number)
