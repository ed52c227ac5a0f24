"""A build, and what publishing it changes, as JSON for other programs."""

from typing import Any

import msgspec

from protocols.registry import is_singleton
from protocols.types import NATIVE
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.selection import Listed, Rejected
from whitelist.pricing.prices import MICRO
from whitelist.publication.messages import ListChange
from whitelist.publication.store import Build
from whitelist.sources.results import SourceReport


def build_as_json(build: Build, only: str | None = None) -> dict[str, Any]:
    """`only`: the id of a pool, or the address of a token of pools; None: every decision."""
    return {
        "snapshot_id": build.snapshot_id,
        "block": msgspec.to_builtins(build.block),
        "tokens": msgspec.to_builtins(build.tokens),
        "sources": {name: _source(report) for name, report in build.sources.items()},
        "pools": [_listed(decision) for decision in build.pools if concerns(decision, only)],
        "rejected": [_rejected(decision) for decision in build.rejected if concerns(decision, only)],
        "rejected_untold": build.omitted,
        "unresolved": dict(build.unresolved),
    }


def change_as_json(build: Build, change: ListChange) -> dict[str, Any]:
    return {
        "snapshot_id": build.snapshot_id,
        "block": msgspec.to_builtins(build.block),
        "pools": len(build.pools),
        "added": [pool.id for pool in change.pools],
        "removed": list(change.removed),
        "tokens_added": [token.address for token in change.tokens],
        "tokens_removed": list(change.removed_tokens),
    }


def concerns(decision: Listed | Rejected, only: str | None) -> bool:
    """Whether the decision is on the pool, or on a pool of the token, with the id or address `only`."""
    pool = decision.pool
    return only is None or only.lower() in (pool.id, pool.token0, pool.token1)


def _source(report: SourceReport) -> dict[str, Any]:
    age_s = None if report.age_s is None else round(report.age_s, 1)
    return {"status": report.status, "age_s": age_s, "tokens": report.tokens, "error": report.error}


def _listed(listed: Listed) -> dict[str, Any]:
    pool = _identity(listed.pool) | {
        "liquidity_usd": round(listed.liquidity_micro_usd / MICRO, 2),
        "reason": listed.reason,
    }
    if is_singleton(listed.pool.protocol):
        pool["hooks"] = None if listed.pool.hooks == NATIVE else listed.pool.hooks
    return pool


def _rejected(rejected: Rejected) -> dict[str, Any]:
    return _identity(rejected.pool) | {"reason": rejected.reason}


def _identity(pool: DiscoveredPool) -> dict[str, Any]:
    return {
        "id": pool.id,
        "protocol": pool.protocol,
        "token0": pool.token0,
        "token1": pool.token1,
        "fee": pool.fee,
        "tick_spacing": pool.tick_spacing,
        "factory": pool.factory,
    }
