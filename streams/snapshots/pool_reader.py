"""Pools' whole states, read from a node at one block, and what of that is fit to be published."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from protocols.folding import from_snapshot
from protocols.states import State
from protocols.storage import NotAPool, Words, state_of
from protocols.ticks import InvariantViolation
from protocols.types import ADDRESS, PoolId, PoolMetadata
from streams.node.pinned_state import PinnedState
from streams.snapshots.bitmap_calls import read_tick_bitmaps
from streams.snapshots.contract_checks import NoState, ReadFailed, Target, v2_states, v3_targets, v4_targets
from streams.snapshots.storage_slots import read_slots

_ID = {"v2": ADDRESS, "v3": ADDRESS, "v4": re.compile("0x[0-9a-f]{64}")}

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
    named = [pool for pool in pools if _ID[pool.protocol].fullmatch(pool.id)]
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
    match pools[0].protocol:
        case "v2":
            return dict(await v2_states(pinned, pools))
        case "v3":
            return await _read_ticked(pinned, await v3_targets(pinned, pools), phase)
        case "v4":
            return await _read_ticked(pinned, await v4_targets(pinned, pools, managers), phase)


async def _read_ticked(
    pinned: PinnedState, found: Mapping[PoolId, Target | NoState | ReadFailed], phase: Phase
) -> dict[PoolId, Outcome]:
    targets = {
        pool: replace(target, with_ticks=phase == "full_ticks") if isinstance(target, Target) else target
        for pool, target in found.items()
    }
    readable = [target for target in targets.values() if isinstance(target, Target)]
    read = await (read_tick_bitmaps if pinned.capabilities.overrides else read_slots)(pinned, readable)
    return {
        pool: _outcome(target, read[pool]) if isinstance(target, Target) else target for pool, target in targets.items()
    }


def _outcome(target: Target, words: Words | ReadFailed) -> Outcome:
    if isinstance(words, ReadFailed):
        return words
    if words.liquidity != target.liquidity:
        return NoState(f"storage holds liquidity {words.liquidity}, the contract says {target.liquidity}")
    try:
        state = state_of(target.pool.protocol, words)
        if target.with_ticks:
            from_snapshot(target.pool, state)
    except (NotAPool, InvariantViolation) as error:
        return NoState(f"what is in storage is no pool's: {error}")
    return state
