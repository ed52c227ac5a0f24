"""Reads the depth of pools at one block, in batches."""

import logging
from collections.abc import Mapping, Sequence

from protocols.registry import NAMES
from protocols.types import PoolId, PoolMetadata
from streams.node.pinned_state import PinnedState
from streams.snapshots.contract_checks import NoState, ReadFailed
from streams.snapshots.pool_reader import read_pools
from whitelist.pricing.depths import Depth, depth

log = logging.getLogger(__name__)

BATCH = 200


class PoolReadFailed(Exception):
    """The node gave no usable answer for a pool."""


async def read_depths(pinned: PinnedState, pools: Sequence[PoolMetadata]) -> Mapping[PoolId, Depth | NoState | None]:
    """None: no liquidity at its price. Raises PoolReadFailed, BlockGone, NodeUnavailable."""
    read: dict[PoolId, Depth | NoState | None] = {}
    for protocol in NAMES:
        some = [pool for pool in pools if pool.protocol == protocol]
        for at in range(0, len(some), BATCH):
            read |= await _batch(pinned, some[at : at + BATCH])
    return read


async def _batch(pinned: PinnedState, pools: Sequence[PoolMetadata]) -> dict[PoolId, Depth | NoState | None]:
    managers = {pool.id: pool.factory for pool in pools}
    read: dict[PoolId, Depth | NoState | None] = {}
    outcomes = await read_pools(pinned, pools, managers, phase="filtering")
    for pool, outcome in outcomes.items():
        if isinstance(outcome, ReadFailed):
            raise PoolReadFailed(f"pool {pool} cannot be read: {outcome.reason}")
        read[pool] = outcome if isinstance(outcome, NoState) else depth(outcome)
    return read
