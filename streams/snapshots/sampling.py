"""Pools that a node's latest blocks speak of, for whoever has no whitelist at hand."""

from collections.abc import Sequence

from protocols.abi import AbiMismatch, decode_arguments
from protocols.decoding import UndecodableLog, decode
from protocols.types import NATIVE, Block, PoolId, PoolMetadata, ProtocolName, Token
from protocols.v4 import INITIALIZE
from streams.node.client import Node
from streams.node.errors import RpcError
from streams.node.pinned_state import PinnedState, probe_capabilities
from streams.snapshots.contract_checks import TICK_SPACING, integers

MOST_BLOCKS = 2_000
COIN = Token(NATIVE)


async def sample(node: Node, count: int) -> list[PoolMetadata]:
    """So many pools of each protocol, or as many as the last blocks have; tokens and fees are not looked up.

    Raises NodeUnavailable, RpcError, BlockGone.
    """
    newest = await node.header("latest")
    if newest is None:
        return []
    found: dict[ProtocolName, dict[PoolId, str]] = {"v2": {}, "v3": {}, "v4": {}}
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
    v2 = [PoolMetadata(pool, "v2", COIN, COIN) for pool in found["v2"]]
    v4 = [await _v4(node, pool, manager, newest.number) for pool, manager in found["v4"].items()]
    return [*v2, *await _v3(pinned, list(found["v3"])), *(pool for pool in v4 if pool is not None)]


async def _v3(pinned: PinnedState, pools: Sequence[PoolId]) -> list[PoolMetadata]:
    answers = await pinned.batch([pinned.call(pool, TICK_SPACING) for pool in pools])
    spacings = [integers(answer) for answer in answers]
    return [
        PoolMetadata(pool, "v3", COIN, COIN, tick_spacing=said[0])
        for pool, said in zip(pools, spacings, strict=True)
        if len(said) == 1
    ]


async def _v4(node: Node, pool: PoolId, manager: str, last: int) -> PoolMetadata | None:
    """None where the node does not tell the log of the pool's creation, which alone says its tick spacing."""
    question = {"address": manager, "topics": ["0x" + INITIALIZE.topic0.hex(), pool]}
    try:
        (created,) = await node.logs_in_range(question, 0, last)
        said = decode_arguments(INITIALIZE, created.log)
    except (RpcError, AbiMismatch, ValueError):
        return None
    return PoolMetadata(pool, "v4", COIN, COIN, said["fee"], said["tickSpacing"], manager)
