"""A build as other programs and people read it."""

from typing import Any

import msgspec
from rich.table import Table

from protocols.types import NATIVE
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.selection import Listed, Rejected
from whitelist.pricing.prices import MICRO
from whitelist.publication.messages import Change
from whitelist.publication.store import Build
from whitelist.sources.cache import spoken
from whitelist.sources.results import SourceReport


def as_json(build: Build, about: str | None = None) -> dict[str, Any]:
    """`about`: a pool, or a token of pools; None: everything."""
    return {
        "snapshot_id": build.snapshot_id,
        "block": msgspec.to_builtins(build.block),
        "tokens": msgspec.to_builtins(build.tokens),
        "sources": {name: _source(report) for name, report in build.sources.items()},
        "pools": [_pool(listed) for listed in build.pools if _is_about(listed, about)],
        "rejected": [_rejected(each) for each in build.rejected if _is_about(each, about)],
        "rejected_untold": build.untold,
        "unresolved": dict(build.unresolved),
    }


def summary(build: Build) -> list[str | Table]:
    table = Table(*("source", "status", "answer's age", "tokens"), box=None)
    for name, report in build.sources.items():
        age = "" if report.age_s is None else spoken(report.age_s)
        table.add_row(name, report.status, age, f"{report.tokens:,}")
    faults = [f"{name}: {report.error}" for name, report in build.sources.items() if report.error is not None]
    rejected = len(build.rejected) + build.untold
    return [
        f"block {build.block.number} {build.block.hash}",
        table,
        *faults,
        f"{len(build.tokens):,} tokens, {len(build.pools):,} pools listed, {rejected:,} rejected",
    ]


def decisions(build: Build, about: str | None) -> list[str | Table]:
    """A line for each decision; of everything the tokens too."""
    listed = [line(each) for each in build.pools if _is_about(each, about)]
    rejected = [f"{each.pool.id}  rejected    {each.reason}" for each in build.rejected if _is_about(each, about)]
    if about is not None:
        known = [
            f"{each.address} is {each.symbol}, by {', '.join(each.sources)}"
            for each in build.tokens
            if each.address == about.lower()
        ]
        return [*known, *listed, *rejected] or [f"nothing was decided on {about} at block {build.block.number}"]
    untold = [f"{build.untold:,} more pools have a token that nobody chose"] if build.untold else []
    unresolved = [f"{name}: {reason}" for name, reason in build.unresolved.items()]
    return [*summary(build), *listed, *rejected, *untold, *unresolved]


def changes(build: Build, found: Change) -> list[str]:
    reasons = {each.pool.id: each.reason for each in build.pools} | {
        each.pool.id: each.reason for each in build.rejected
    }
    lines = [f"+ {pool.id}  {reasons[pool.id]}" for pool in found.pools]
    lines += [f"- {pool}  {reasons.get(pool, 'it is no longer on the chain')}" for pool in found.removed]
    lines += [f"+ token {token.address} {token.symbol}, by {', '.join(token.sources)}" for token in found.tokens]
    lines += [f"- token {token}" for token in found.removed_tokens]
    return [*lines, f"{len(found.pools)} pools new or changed, {len(found.removed)} removed; {len(build.pools)} in all"]


def change_as_json(build: Build, found: Change) -> dict[str, Any]:
    return {
        "snapshot_id": build.snapshot_id,
        "block": msgspec.to_builtins(build.block),
        "pools": len(build.pools),
        "added": [pool.id for pool in found.pools],
        "removed": list(found.removed),
        "tokens_added": [token.address for token in found.tokens],
        "tokens_removed": list(found.removed_tokens),
    }


def _is_about(decision: Listed | Rejected, about: str | None) -> bool:
    pool = decision.pool
    return about is None or about.lower() in (pool.id, pool.token0, pool.token1)


def line(listed: Listed) -> str:
    pool = listed.pool
    kind = pool.protocol if pool.fee is None else f"{pool.protocol} {_fee(pool.fee)}"
    return f"{pool.id}  {kind:<10}  {listed.reason}"


def _fee(fee: int) -> str:
    return "dynamic" if fee & 0x800000 else f"{fee / 10_000:g} %"


def _pool(listed: Listed) -> dict[str, Any]:
    told = _identity(listed.pool) | {
        "liquidity_usd": round(listed.liquidity_micro_usd / MICRO, 2),
        "reason": listed.reason,
    }
    if listed.pool.protocol == "v4":
        told["hooks"] = None if listed.pool.hooks == NATIVE else listed.pool.hooks
    return told


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


def _source(report: SourceReport) -> dict[str, Any]:
    age_s = None if report.age_s is None else round(report.age_s, 1)
    return {"status": report.status, "age_s": age_s, "tokens": report.tokens, "error": report.error}
