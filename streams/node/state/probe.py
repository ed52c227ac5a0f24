"""Finds out what a node can do, by calls whose answers are known."""

import logging
import secrets

from protocols.types import Block
from streams.node.client import Node
from streams.node.errors import RpcError, StateMissing
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import PinnedState, StateUnavailable

log = logging.getLogger(__name__)

UNREACHED_BLOCK = 2**48
"""A block number that no chain reaches."""


async def probe_capabilities(node: Node, block: Block) -> NodeCapabilities:
    """Raises BlockGone for a block that is replaced meanwhile, StateUnavailable where not even code can be had.

    A node that answers for a block that never was does not look at what it is asked for: what it says is of no block.
    """
    latest_shifts = await _is_anvil(node)
    answer: object = None
    for by_hash in (True, False):
        never = Block(block.number, "0x" + secrets.token_hex(32)) if by_hash else Block(UNREACHED_BLOCK, block.hash)
        for overrides in (True, False):
            capabilities = NodeCapabilities(overrides, by_hash, latest_shifts=latest_shifts)
            pinned = PinnedState(node, block, capabilities)
            if (refusal := await pinned.probe()) is not None:
                answer = refusal if answer is None or isinstance(refusal, StateMissing) else answer
                continue
            if await PinnedState(node, never, capabilities).probe() is None:
                answer = "it answers for blocks that never were, so what it says is of no block"
                continue
            await pinned.check_chain()
            _log_limits(capabilities)
            return capabilities
    raise StateUnavailable(block, answer)


async def _is_anvil(node: Node) -> bool:
    try:
        return str(await node.call("web3_clientVersion", [])).lower().startswith("anvil")
    except RpcError:
        return False


def _log_limits(capabilities: NodeCapabilities) -> None:
    if not capabilities.overrides:
        log.warning("the node refuses state overrides: pools are read slot by slot, which is slower")
    if not capabilities.by_hash:
        log.warning("the node ignores block hashes (EIP-1898): pools are read by number, and the hash checked after")
