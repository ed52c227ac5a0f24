"""Lines and tables that the demo prints."""

from collections.abc import Sequence

from rich.table import Table

from lab.devnet.chain.world import World
from lab.devnet.reference.comparison import PoolComparison
from lab.devnet.reference.worker_client import WorkerClient


def progress(world: World, served: WorkerClient) -> str:
    status = served.status()
    live = status["pools"].get("live", 0)
    reasons = ", ".join(f"{count} {reason}" for reason, count in status["reasons"].items())
    why = f"; waiting: {reasons}" if reasons else ""
    return f"chain {world.chain.tip.number}, served {status['head']}, {live} of {len(world.pools)} pools live{why}"


def comparison_table(found: Sequence[PoolComparison]) -> Table:
    rows = Table("pool", "protocol", "fee", "spacing", "fields", "ticks", "differing", box=None, pad_edge=False)
    for verdict in found:
        pool = verdict.pool
        fields = {"v2": 2, "v3": 3, "v4": 5}[pool.protocol]
        shown = (pool.id[:18], pool.protocol, pool.fee or "", pool.tick_spacing or "", fields, verdict.ticks)
        rows.add_row(*map(str, shown), str(len(verdict.differences)))
    return rows


def audit_summary(served: WorkerClient, world: World) -> str:
    """What the workers report of updates, rewinds, audits and divergences."""
    explained = [served.get(f"/pools/{pool.id}/explain/") or {} for pool in world.pools]
    names = ("updates_applied", "rewinds", "audits", "divergences")
    counts = ", ".join(f"{sum(each.get(name, 0) for each in explained)} {name.replace('_', ' ')}" for name in names)
    diverged = [f"\n{each['id']}: {each['last_divergence']}" for each in explained if each.get("divergences")]
    return counts + "".join(diverged)
