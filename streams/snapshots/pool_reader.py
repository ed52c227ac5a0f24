"""Reads pools' whole states from a node at one block, and rejects those that break an invariant."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from protocols.dex import Dex
from protocols.folding import from_snapshot
from protocols.registry import State, can_be, dex_of
from protocols.storage import NotAPool, Words
from protocols.ticks import InvariantViolation
from protocols.types import PoolId, PoolMetadata, pool_id
from streams.node.state.pinned_state import PinnedState
from streams.snapshots.bitmap_calls import read_tick_bitmaps
from streams.snapshots.contract_checks import NoState, PoolStorage, ReadFailed, identify_pools
from streams.snapshots.storage_slots import read_slots

Phase = Literal["filtering", "full_ticks"]
"""Filtering reads price and liquidity, full_ticks every initialised tick too; of a V2 pool there is only one state."""
Outcome = State | NoState | ReadFailed


async def read_pools(
    pinned: PinnedState,
    pools: Sequence[PoolMetadata],
    managers: Mapping[PoolId, str | None],
    phase: Phase = "full_ticks",
) -> dict[PoolId, Outcome]:
    """Pools of one protocol, an outcome for each. What `filtering` reads has no ticks, and is no state to go on from.

    Raises BlockGone for a block that is replaced meanwhile, NodeUnavailable for a node that is away.
    """
    named = [pool for pool in pools if pool_id(pool.id) == pool.id and can_be(pool.id, pool.protocol)]
    outcomes: dict[PoolId, Outcome] = {
        pool.id: NoState(f"{pool.id} is no id of a {pool.protocol} pool") for pool in pools
    }
    if named:
        outcomes |= await _outcomes(pinned, named, managers, phase)
    if named and await pinned.has_shifted():
        outcomes |= await _outcomes(pinned, named, managers, phase)
    if any(isinstance(outcome, ReadFailed) for outcome in outcomes.values()):
        await pinned.check_state()
    await pinned.check_chain()
    return outcomes


async def _outcomes(
    pinned: PinnedState, pools: Sequence[PoolMetadata], managers: Mapping[PoolId, str | None], phase: Phase
) -> dict[PoolId, Outcome]:
    dex = dex_of(pools[0].protocol)
    identities = await identify_pools(pinned, dex, pools, managers)
    storages = [
        replace(identity, with_ticks=phase == "full_ticks")
        for identity in identities.values()
        if isinstance(identity, PoolStorage)
    ]
    read = await (read_tick_bitmaps if pinned.capabilities.overrides else read_slots)(pinned, storages)
    outcomes = {pool: identity for pool, identity in identities.items() if not isinstance(identity, PoolStorage)}
    return outcomes | {storage.pool.id: _outcome(dex, storage, read[storage.pool.id]) for storage in storages}


def _outcome(dex: Dex, storage: PoolStorage, words: Words | ReadFailed) -> Outcome:
    if isinstance(words, ReadFailed):
        return words
    if words.liquidity != storage.liquidity:
        return NoState(f"storage holds liquidity {words.liquidity}, the contract says {storage.liquidity}")
    assert dex.reads.state is not None
    try:
        state = dex.reads.state(words)
        if storage.with_ticks:
            from_snapshot(storage.pool, state)
    except (NotAPool, InvariantViolation) as error:
        return NoState(f"what is in storage is no pool's: {error}")
    return state
