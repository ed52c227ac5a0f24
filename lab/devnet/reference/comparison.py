"""Every field of every pool that a worker serves, compared with the chain at one block."""

from collections.abc import Sequence

import msgspec

from lab.devnet.chain.contracts import Pool
from lab.devnet.reference.reader import ReferenceReader, field_differences, tick_differences
from lab.devnet.reference.worker_client import Answer, WorkerClient


class PoolComparison(msgspec.Struct, frozen=True):
    pool: Pool
    ticks: int
    differences: tuple[str, ...]


def compare_pools(
    served: WorkerClient, reference: ReferenceReader, pools: Sequence[Pool], block_hash: str
) -> list[PoolComparison]:
    """Every field of every pool at one block, which must be the block that is served."""
    return [_compare(served, reference, pool, block_hash) for pool in pools]


def _compare(served: WorkerClient, reference: ReferenceReader, pool: Pool, block_hash: str) -> PoolComparison:
    truth = reference.truth(pool, block_hash)
    found = served.get(f"/pools/{pool.id}/")
    if found is None or found["state"] is None:
        return PoolComparison(pool, 0, (f"not served: {found['reason'] if found else 'unknown'}",))
    differences = field_differences(found["state"], truth)
    blocks = {found["block"]["hash"]}
    ticks: list[Answer] = []
    if pool.protocol != "v2":
        answer = served.get(f"/pools/{pool.id}/ticks/") or {"ticks": None, "block": {"hash": "none"}}
        ticks = answer["ticks"] or []
        blocks.add(answer["block"]["hash"])
        differences += tick_differences(ticks, truth)
    if blocks != {block_hash}:
        differences.append(f"served as of {', '.join(sorted(blocks))} instead of {block_hash}")
    return PoolComparison(pool, len(ticks), tuple(differences))
