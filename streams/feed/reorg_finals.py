"""Reads the price or the reserves of pools at the tip of a reorg, pinned to its hash."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from protocols.abi import AbiMismatch, decode_outputs
from protocols.dex import GetterCall
from protocols.folding import is_initialized
from protocols.registry import dex_of
from protocols.storage import NotAPool
from protocols.types import PoolId, ProtocolName
from streams.exex.control_messages import PoolFinal
from streams.node.client import Node
from streams.node.errors import RpcError

log = logging.getLogger(__name__)

BATCH = 100
Calls = list[tuple[str, list[Any]]]


async def read_final_states(
    node: Node, pools: Mapping[PoolId, ProtocolName], managers: Mapping[PoolId, str], block_hash: str
) -> list[PoolFinal]:
    """Leaves out pools without a state there, such as one created in a reverted block. Raises NodeUnavailable."""
    at = {"blockHash": block_hash}
    calls = {pool: _calls(pool, protocol, managers.get(pool)) for pool, protocol in pools.items()}
    requests: Calls = [
        ("eth_call", [{"to": call.address, "data": "0x" + call.calldata.hex()}, at])
        for of_pool in calls.values()
        for call in of_pool
    ]
    answers = iter(await _answers(node, requests))
    read = (_final(pool, pools[pool], [(call, next(answers)) for call in of_pool]) for pool, of_pool in calls.items())
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


def _calls(pool: PoolId, protocol: ProtocolName, manager: str | None) -> Sequence[GetterCall]:
    dex = dex_of(protocol)
    emitter = manager if dex.is_singleton else pool
    return [] if emitter is None else dex.reads.price_calls(pool, emitter)


def _final(pool: PoolId, protocol: ProtocolName, answers: Sequence[tuple[GetterCall, Any]]) -> PoolFinal | None:
    errors = [answer for _, answer in answers if isinstance(answer, RpcError)]
    if errors:
        log.warning("no final state of %s for the reorg's epilogue: %s", pool, errors[0])
    if errors or not answers:
        return None
    try:
        price = dex_of(protocol).reads.price([_outputs(call, answer) for call, answer in answers])
    except NotAPool as error:
        log.warning("no final state of %s for the reorg's epilogue: %s", pool, error)
        return None
    except AbiMismatch:
        return None
    return PoolFinal(pool, protocol, price) if is_initialized(price) else None


def _outputs(call: GetterCall, answer: Any) -> list[int]:
    """Raises AbiMismatch."""
    try:
        return decode_outputs(call.function, bytes.fromhex(str(answer)[2:]))
    except ValueError as error:
        raise AbiMismatch(f"{answer!r} is no hex") from error
