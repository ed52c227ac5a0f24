"""Reads the price or the reserves of pools at the tip of a reorg, pinned to its hash."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from protocols.states import V4State
from protocols.storage import NotAPool, Words, state_of, v4_slots
from protocols.types import PoolId, ProtocolName
from streams.exex.control import Slot0Final, V2ReservesFinal
from streams.feed.blocks import FinalState
from streams.node.client import Node
from streams.node.errors import RpcError

log = logging.getLogger(__name__)

GET_RESERVES, SLOT0, LIQUIDITY = (
    "0x" + keccak(signature).hex()[:8] for signature in (b"getReserves()", b"slot0()", b"liquidity()")
)
BATCH = 100
Calls = list[tuple[str, list[Any]]]


async def read_final_states(
    node: Node, pools: Mapping[PoolId, ProtocolName], managers: Mapping[PoolId, str], block_hash: str
) -> list[FinalState]:
    """Leaves out pools without a state there, such as one created in a reverted block. Raises NodeUnavailable."""
    calls = {pool: _calls(pool, protocol, managers.get(pool), block_hash) for pool, protocol in pools.items()}
    answers = iter(await _answers(node, [call for of_pool in calls.values() for call in of_pool]))
    read = (_final(pool, pools[pool], [next(answers) for _ in of_pool]) for pool, of_pool in calls.items())
    return [final for final in read if final is not None]


async def _answers(node: Node, calls: Calls) -> list[Any]:
    """Where the node refuses a whole batch, its RpcError stands for each answer."""
    answers: list[Any] = []
    for batch in (calls[at : at + BATCH] for at in range(0, len(calls), BATCH)):
        try:
            answers += await node.batch(batch)
        except RpcError as error:
            answers += [error] * len(batch)
    return answers


def _calls(pool: PoolId, protocol: ProtocolName, manager: str | None, block_hash: str) -> Calls:
    at = {"blockHash": block_hash}
    match protocol:
        case "v2":
            return [("eth_call", [{"to": pool, "data": GET_RESERVES}, at])]
        case "v3":
            return [("eth_call", [{"to": pool, "data": data}, at]) for data in (SLOT0, LIQUIDITY)]
        case "v4" if manager is not None:
            slots = v4_slots(pool)
            return [("eth_getStorageAt", [manager, f"0x{slot:064x}", at]) for slot in (slots.price, slots.liquidity)]
        case _:
            return []


def _final(pool: PoolId, protocol: ProtocolName, answers: Sequence[Any]) -> FinalState | None:
    if errors := [answer for answer in answers if isinstance(answer, RpcError)]:
        log.warning("No final state of %s for the reorg's epilogue: %s", pool, errors[0])
        return None
    words = [word for answer in answers for word in _words(answer)]
    match protocol, words:
        case "v2", [reserve0, reserve1, *_] if max(reserve0, reserve1) < 2**128:
            return V2ReservesFinal(pool, reserve0, reserve1)
        case "v3", [sqrt_price_x96, tick, *_, liquidity] if 0 < sqrt_price_x96 < 2**160 and liquidity < 2**128:
            return Slot0Final(pool, "v3", sqrt_price_x96, liquidity, (tick & 0xFFFFFF ^ 0x800000) - 0x800000)
        case "v4", [price, liquidity] if price:
            return _v4_final(pool, price, liquidity)
    return None


def _v4_final(pool: PoolId, price: int, liquidity: int) -> FinalState | None:
    try:
        state = state_of("v4", Words(price, 0, liquidity, ()))
    except NotAPool as error:
        log.warning("No final state of %s for the reorg's epilogue: %s", pool, error)
        return None
    assert isinstance(state, V4State)
    return Slot0Final(pool, "v4", state.sqrt_price_x96, state.liquidity, state.tick)


def _words(answer: Any) -> Iterable[int]:
    try:
        data = bytes.fromhex(str(answer)[2:])
    except ValueError:
        return []
    return [int.from_bytes(data[at : at + 32]) for at in range(0, len(data), 32)]
