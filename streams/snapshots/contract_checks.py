"""What contracts say of themselves when asked by their own getters: that they are pools, and of which kind."""

from collections.abc import Mapping, Sequence

import msgspec

from protocols.states import V2State
from protocols.storage import V3_UNISWAP, NotAPool, Slots, bitmap_words, v4_slots
from protocols.types import ADDRESS, PoolId, PoolMetadata
from streams.node.errors import RpcError
from streams.node.pinned_state import CallResult, PinnedState
from streams.snapshots.multicall import multicall

GET_RESERVES = bytes.fromhex("0902f1ac")
TICK_SPACING = bytes.fromhex("d0c93a7c")
LIQUIDITY = bytes.fromhex("1a686502")
EXTSLOAD = bytes.fromhex("1e2eaeaf")
THE_CONTRACTS_DOING = ("revert", "opcode", "stack", "jump", "out of gas", "outofgas", "vm execution error")
"""What nodes say where the contract's code, not the node, is why a call has no result."""


class NoState(msgspec.Struct, frozen=True):
    """The chain has no state to give for the pool at this block."""

    reason: str


class ReadFailed(msgspec.Struct, frozen=True):
    """The node gave no answer for this pool; another try may bring one."""

    reason: str


class Target(msgspec.Struct, frozen=True):
    """A pool with ticks, and where its storage is."""

    pool: PoolMetadata
    address: str
    """The pool's own, or its PoolManager's."""
    slots: Slots
    tick_spacing: int
    liquidity: int
    """As the contract has it."""
    with_ticks: bool = True

    @property
    def words(self) -> range:
        return bitmap_words(self.tick_spacing) if self.with_ticks else range(0)


async def v2_states(pinned: PinnedState, pools: Sequence[PoolMetadata]) -> dict[PoolId, V2State | NoState | ReadFailed]:
    """The getter tells all there is of a V2 pool, in whatever slot a fork keeps it."""
    answers = await multicall(pinned, [(pool.id, GET_RESERVES) for pool in pools])
    return {pool.id: await _v2_state(pinned, pool, answer) for pool, answer in zip(pools, answers, strict=True)}


async def _v2_state(pinned: PinnedState, pool: PoolMetadata, answer: CallResult) -> V2State | NoState | ReadFailed:
    match integers(answer):
        case [reserve0, reserve1, _] if not (reserve0 | reserve1) >> 112:
            return V2State(reserve0, reserve1)
    return await _no_pool(pinned, pool.id, "getReserves()", answer)


async def v3_targets(pinned: PinnedState, pools: Sequence[PoolMetadata]) -> dict[PoolId, Target | NoState | ReadFailed]:
    answers = await multicall(pinned, [(pool.id, getter) for getter in (TICK_SPACING, LIQUIDITY) for pool in pools])
    pairs = zip(answers[: len(pools)], answers[len(pools) :], strict=True)
    return {pool.id: await _v3_target(pinned, pool, *pair) for pool, pair in zip(pools, pairs, strict=True)}


async def _v3_target(
    pinned: PinnedState, pool: PoolMetadata, spacing: CallResult, liquidity: CallResult
) -> Target | NoState | ReadFailed:
    match integers(spacing), integers(liquidity):
        case [tick_spacing], [active]:
            if tick_spacing == pool.tick_spacing:
                return _target(pool, pool.id, V3_UNISWAP, active)
            return NoState(f"the list says tick spacing {pool.tick_spacing}, the contract says {tick_spacing}")
        case [_], _:
            return await _no_pool(pinned, pool.id, "liquidity()", liquidity)
    return await _no_pool(pinned, pool.id, "tickSpacing()", spacing)


async def v4_targets(
    pinned: PinnedState, pools: Sequence[PoolMetadata], managers: Mapping[PoolId, str | None]
) -> dict[PoolId, Target | NoState | ReadFailed]:
    known = [(pool, manager) for pool in pools if (manager := managers.get(pool.id)) and ADDRESS.fullmatch(manager)]
    answers = await multicall(pinned, [(manager, _extsload(v4_slots(pool.id).liquidity)) for pool, manager in known])
    unknown = "no PoolManager is known for the pool: name it in the list (factory) or in ARENA_V4_POOL_MANAGER"
    targets: dict[PoolId, Target | NoState | ReadFailed] = {pool.id: NoState(unknown) for pool in pools}
    for (pool, manager), answer in zip(known, answers, strict=True):
        targets[pool.id] = await _v4_target(pinned, pool, manager, answer)
    return targets


async def _v4_target(
    pinned: PinnedState, pool: PoolMetadata, manager: str, answer: CallResult
) -> Target | NoState | ReadFailed:
    match integers(answer):
        case [liquidity]:
            return _target(pool, manager, v4_slots(pool.id), liquidity)
    return await _no_pool(pinned, manager, "extsload(bytes32)", answer)


def _extsload(slot: int) -> bytes:
    return EXTSLOAD + slot.to_bytes(32, "big")


def _target(pool: PoolMetadata, address: str, slots: Slots, liquidity: int) -> Target | NoState:
    if pool.tick_spacing is None:
        return NoState("the list says no tick spacing")
    try:
        bitmap_words(pool.tick_spacing)
    except NotAPool as error:
        return NoState(str(error))
    return Target(pool, address, slots, pool.tick_spacing, liquidity)


def integers(answer: CallResult) -> list[int]:
    """The words of the answer; none where it is no whole number of them, no hex, or no answer."""
    if not isinstance(answer, str) or len(answer) < 66 or (len(answer) - 2) % 64:
        return []
    try:
        return [int(answer[at : at + 64], 16) for at in range(2, len(answer), 64)]
    except ValueError:
        return []


async def _no_pool(pinned: PinnedState, address: str, getter: str, answer: CallResult) -> NoState | ReadFailed:
    if isinstance(answer, Exception) and not _is_the_contracts_doing(answer):
        return ReadFailed(f"{address} was asked for {getter}: {answer}")
    (code,) = await pinned.batch([pinned.code(address)])
    if isinstance(code, Exception):
        return ReadFailed(f"{address} was asked for its code: {code}")
    if code == "0x":
        return NoState(f"there is no contract at {address}")
    said = f"{len(answer) // 2 - 1} bytes" if isinstance(answer, str) else str(answer)
    return NoState(f"the contract at {address} is no such pool: asked for {getter} it says {said}")


def _is_the_contracts_doing(error: Exception) -> bool:
    return isinstance(error, RpcError) and (
        error.code == 3 or any(word in str(error).lower() for word in THE_CONTRACTS_DOING)
    )
