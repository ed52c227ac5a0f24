"""What contracts answer to their own getters: whether they are the listed pools, and where their state is."""

from collections.abc import Mapping, Sequence

import msgspec

from protocols.abi import AbiMismatch, decode_outputs
from protocols.dex import Dex, GetterCall
from protocols.registry import State
from protocols.storage import Located, NotAPool, Slots, bitmap_words
from protocols.types import ADDRESS, PoolId, PoolMetadata
from streams.node.errors import RpcError
from streams.node.state.pinned_state import CallResult, PinnedState
from streams.snapshots.multicall import multicall

CONTRACT_ERRORS = ("revert", "opcode", "stack", "jump", "out of gas", "outofgas", "vm execution error")
"""Parts of a node's error message when the contract's code, not the node, made the call fail."""
UNKNOWN_MANAGER = "no PoolManager is known for the pool: name it in the list (factory) or in ARENA_V4_POOL_MANAGER"


class NoState(msgspec.Struct, frozen=True):
    """The chain has no state to give for the pool at this block."""

    reason: str


class ReadFailed(msgspec.Struct, frozen=True):
    """The node gave no answer for this pool; another try may bring one."""

    reason: str


class PoolStorage(msgspec.Struct, frozen=True):
    """A pool with ticks, and where its storage is."""

    pool: PoolMetadata
    address: str
    """The pool's own, or that of the singleton that keeps it."""
    slots: Slots
    tick_spacing: int
    liquidity: int
    """As the contract's getter answers."""
    with_ticks: bool = True

    @property
    def words(self) -> range:
        return bitmap_words(self.tick_spacing) if self.with_ticks else range(0)


Identity = State | PoolStorage | NoState | ReadFailed
"""The pool's whole state, or where to read it, or why it cannot be read."""


async def identify_pools(
    pinned: PinnedState, dex: Dex, pools: Sequence[PoolMetadata], managers: Mapping[PoolId, str | None]
) -> dict[PoolId, Identity]:
    """Pools of one DEX. Raises NodeUnavailable."""
    emitters = {pool.id: _emitter(dex, pool, managers) for pool in pools}
    known = [(pool, emitter) for pool in pools if (emitter := emitters[pool.id]) is not None]
    calls = [dex.reads.identity_calls(pool.id, emitter) for pool, emitter in known]
    results = iter(await multicall(pinned, [(call.address, call.calldata) for of_pool in calls for call in of_pool]))
    identities: dict[PoolId, Identity] = {pool.id: NoState(UNKNOWN_MANAGER) for pool in pools}
    for (pool, emitter), of_pool in zip(known, calls, strict=True):
        answers = [(call, next(results)) for call in of_pool]
        identities[pool.id] = await _identity(pinned, dex, pool, emitter, answers)
    return identities


def _emitter(dex: Dex, pool: PoolMetadata, managers: Mapping[PoolId, str | None]) -> str | None:
    emitter = managers.get(pool.id) if dex.is_singleton else pool.id
    return emitter if emitter and ADDRESS.fullmatch(emitter) else None


async def _identity(
    pinned: PinnedState,
    dex: Dex,
    pool: PoolMetadata,
    emitter: str,
    answers: Sequence[tuple[GetterCall, CallResult]],
) -> Identity:
    outputs = []
    for call, answer in answers:
        values = decoded(call, answer)
        if values is None:
            return await _no_pool(pinned, call, answer)
        outputs.append(values)
    try:
        found = dex.reads.identify(pool, outputs)
        return _pool_storage(pool, emitter, found) if isinstance(found, Located) else found
    except NotAPool as error:
        return NoState(str(error))


def _pool_storage(pool: PoolMetadata, address: str, located: Located) -> PoolStorage:
    """Raises NotAPool."""
    if pool.tick_spacing is None:
        raise NotAPool("the list says no tick spacing")
    bitmap_words(pool.tick_spacing)
    return PoolStorage(pool, address, located.slots, pool.tick_spacing, located.liquidity)


def integers(answer: CallResult) -> list[int]:
    """The words of the answer; none where it is no whole number of them, no hex, or no answer."""
    if not isinstance(answer, str) or len(answer) < 66 or (len(answer) - 2) % 64:
        return []
    try:
        return [int(answer[at : at + 64], 16) for at in range(2, len(answer), 64)]
    except ValueError:
        return []


def decoded(call: GetterCall, answer: CallResult) -> list[int] | None:
    """The getter's outputs; None where the answer is an error, no hex, or does not fit the getter's ABI."""
    if not isinstance(answer, str):
        return None
    try:
        return decode_outputs(call.function, bytes.fromhex(answer[2:]))
    except (ValueError, AbiMismatch):
        return None


async def _no_pool(pinned: PinnedState, call: GetterCall, answer: CallResult) -> NoState | ReadFailed:
    address, getter = call.address, call.function.signature
    if isinstance(answer, Exception) and not is_contract_error(answer):
        return ReadFailed(f"{address} was asked for {getter}: {answer}")
    (code,) = await pinned.batch([pinned.code(address)])
    if isinstance(code, Exception):
        return ReadFailed(f"{address} was asked for its code: {code}")
    if code == "0x":
        return NoState(f"there is no contract at {address}")
    said = f"{len(answer) // 2 - 1} bytes" if isinstance(answer, str) else str(answer)
    return NoState(f"the contract at {address} is no such pool: asked for {getter} it says {said}")


def is_contract_error(error: Exception) -> bool:
    return isinstance(error, RpcError) and (
        error.code == 3 or any(word in str(error).lower() for word in CONTRACT_ERRORS)
    )
