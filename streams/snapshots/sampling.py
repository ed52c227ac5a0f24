"""Pools whose logs are in a node's latest blocks, for a user without a whitelist."""

from collections.abc import Mapping

from protocols.abi import AbiMismatch, decode_arguments
from protocols.decoding import UndecodableLog, decode
from protocols.dex import Dex, GetterCall
from protocols.registry import DEXES, NAMES
from protocols.types import NATIVE, Block, PoolId, PoolMetadata, ProtocolName, Token
from streams.node.client import Node
from streams.node.errors import RpcError
from streams.node.state.pinned_state import PinnedState
from streams.node.state.probe import probe_capabilities
from streams.snapshots.contract_checks import decoded as decoded_outputs

MOST_BLOCKS = 2_000
COIN = Token(NATIVE)


async def sample(node: Node, count: int) -> list[PoolMetadata]:
    """So many pools of each protocol, or as many as the last blocks have; tokens and fees are not looked up.

    Raises NodeUnavailable, RpcError, BlockGone.
    """
    newest = await node.header("latest")
    if newest is None:
        return []
    found: dict[ProtocolName, dict[PoolId, str]] = {name: {} for name in NAMES}
    header = newest
    for _ in range(MOST_BLOCKS):
        for log in await node.logs(header.hash):
            try:
                decoded = decode(log)
            except UndecodableLog:
                continue
            if decoded is not None and len(found[decoded.protocol]) < count:
                found[decoded.protocol].setdefault(decoded.pool, decoded.emitter)
        parent = await node.header(header.parent) if header.number else None
        if parent is None or all(len(pools) >= count for pools in found.values()):
            break
        header = parent
    block = Block(newest.number, newest.hash)
    pinned = PinnedState(node, block, await probe_capabilities(node, block))
    return [pool for dex in DEXES for pool in await _described(pinned, node, dex, found[dex.name])]


async def _described(pinned: PinnedState, node: Node, dex: Dex, emitters: Mapping[PoolId, str]) -> list[PoolMetadata]:
    """With what reading a state needs; pools whose tick spacing the chain does not give are left out."""
    if dex.is_singleton:
        created = [await _created(node, dex, pool, at, pinned.block.number) for pool, at in emitters.items()]
        return [pool for pool in created if pool is not None]
    if dex.reads.tick_spacing is None:
        return [PoolMetadata(pool, dex.name, COIN, COIN) for pool in emitters]
    calls = [GetterCall(pool, dex.reads.tick_spacing) for pool in emitters]
    answers = await pinned.batch([pinned.call(call.address, call.calldata) for call in calls])
    return [
        PoolMetadata(PoolId(call.address), dex.name, COIN, COIN, tick_spacing=outputs[0])
        for call, answer in zip(calls, answers, strict=True)
        if (outputs := decoded_outputs(call, answer)) is not None
    ]


async def _created(node: Node, dex: Dex, pool: PoolId, singleton: str, last: int) -> PoolMetadata | None:
    """None where the node does not give the log of the pool's creation, which alone has its tick spacing."""
    creation = dex.creation
    topics = ["0x" + creation.log.topic0.hex(), pool]
    try:
        (found,) = await node.logs_in_range({"address": singleton, "topics": topics}, 0, last)
        arguments = decode_arguments(creation.log, found.log)
    except (RpcError, AbiMismatch, ValueError):
        return None
    fee, tick_spacing = (_argument(arguments, name) for name in (creation.fee, creation.tick_spacing))
    return PoolMetadata(pool, dex.name, COIN, COIN, fee, tick_spacing, singleton)


def _argument(arguments: Mapping[str, int], name: str | None) -> int | None:
    return None if name is None else arguments[name]
