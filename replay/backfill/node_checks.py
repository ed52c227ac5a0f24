"""Whether a node has what a backfill needs, found out before anything is written."""

from collections.abc import Iterable

import msgspec

from protocols.registry import is_singleton
from protocols.types import Block, PoolId, PoolMetadata
from replay.backfill.plan import Plan
from settings import Settings
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import RpcError, UnusableAnswer
from streams.node.pool_managers import pool_manager
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import StateUnavailable
from streams.node.state.probe import probe_capabilities


class NodeLacks(Exception):
    """The node does not have what the backfill needs; nothing is written."""


class Start(msgspec.Struct, frozen=True):
    block: Block
    """Of the snapshots."""
    capabilities: NodeCapabilities


async def check_node(node: Node, plan: Plan) -> Start:
    """Raises NodeLacks, NodeUnavailable, WrongChain."""
    newest = await node.header("latest")
    if newest is None or newest.number < plan.last:
        reached = "no block" if newest is None else f"block {newest.number}"
        raise NodeLacks(f"the node is at {reached}, so block {plan.last} is not there yet")
    await _check_logs(node, await _header(node, plan.first))
    header = await _header(node, plan.snapshots_at)
    block = Block(header.number, header.hash)
    try:
        return Start(block, await probe_capabilities(node, block))
    except StateUnavailable as error:
        raise NodeLacks(
            f"{error}; an archive node has it, or name by --at a block whose state this node has"
        ) from error


async def find_managers(node: Node, pools: Iterable[PoolMetadata], settings: Settings) -> dict[PoolId, str | None]:
    """The PoolManagers of V4 pools; None for a pool of another protocol. Raises NodeLacks."""
    managers = {pool: await pool_manager(node, pool, settings) for pool in pools}
    if missing := [pool.id for pool, manager in managers.items() if manager is None and is_singleton(pool.protocol)]:
        raise NodeLacks(f"pool {missing[0]} has no known PoolManager; set ARENA_V4_POOL_MANAGER, or leave it out")
    return {pool.id: manager for pool, manager in managers.items()}


async def _header(node: Node, number: int) -> NodeHeader:
    header = await node.header(number)
    if header is None:
        raise NodeLacks(f"the node does not have block {number}")
    return header


async def _check_logs(node: Node, header: NodeHeader) -> None:
    try:
        await node.logs(header.hash)
    except (RpcError, UnusableAnswer) as error:
        raise NodeLacks(
            f"the node does not give the logs of block {header.number} ({error}); a node that keeps receipts has them"
        ) from error
