"""Proves that a node served all logs of a range: a pruned node may answer that there are none.

History is pruned from the oldest block on. So a range is proven when, after its logs are read, the node still serves
the logs of the first block whose header says (logsBloom) that it has some. Where a factory counts its pools, as
those of V2 do, so many must have been found too.
"""

from collections.abc import Sequence

from protocols.abi import FunctionAbi
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import HistoryPruned, NodeUnavailable, RpcError
from streams.node.state.pinned_state import BlockGone
from streams.node.transport.hex_values import is_hex

SAMPLED_BLOCKS = 32
"""Headers of a range to look for one with logs, where its first block has none."""
UNSETTLED_BLOCKS = 64
"""A node may have so new a block before it has indexed its logs."""


class LogsPruned(Exception):
    def __init__(self, block: int, cause: str) -> None:
        super().__init__(
            f"the node does not serve the logs of block {block} ({cause}): its history is pruned (reth --full, "
            "Erigon --prune.mode=full or minimal, geth --history.chain=postmerge), so pools would be missing without "
            "a sign; the factories' logs are needed from their first block on"
        )


async def prove_logs(node: Node, first: int, last: int, head: int) -> None:
    """That logs are served from block `first` on; to call after the logs of `first` to `last` are read.

    Raises LogsPruned, BlockGone, NodeUnavailable for a node that has not yet indexed the logs of a new block.
    """
    step = max(1, (last - first + 1) // SAMPLED_BLOCKS)
    for numbers in ([first], range(first, last + 1, step)):
        for block in await _blocks(node, numbers):
            if block.bloom:
                await _prove_block(node, block, head)
                return


async def _blocks(node: Node, numbers: Sequence[int]) -> list[NodeHeader]:
    answers = await node.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
    blocks = []
    for number, answer in zip(numbers, answers, strict=True):
        if isinstance(answer, HistoryPruned):
            raise LogsPruned(number, str(answer)) from answer
        if isinstance(answer, RpcError):
            raise answer
        if answer is None:
            raise BlockGone(f"block {number} is no longer on the node's chain")
        blocks.append(node.read_header(answer))
    return blocks


async def _prove_block(node: Node, block: NodeHeader, head: int) -> None:
    try:
        logs = await node.call("eth_getLogs", [{"blockHash": block.hash}])
    except HistoryPruned as error:
        raise LogsPruned(block.number, str(error)) from error
    if logs and isinstance(logs, list):
        return
    if block.number > head - UNSETTLED_BLOCKS:
        raise NodeUnavailable(f"the node has block {block.number} but not its logs yet")
    raise LogsPruned(block.number, "it answers that there are none, and the header's bloom filter has some")


async def count_pools(node: Node, factory: str, counter: FunctionAbi, block: int) -> int | None:
    """By the factory's own getter; None where the node or the contract does not answer it."""
    call = {"to": factory, "data": "0x" + counter.selector.hex()}
    try:
        answer = await node.call("eth_call", [call, hex(block)])
    except RpcError:
        return None
    return int(answer, 16) if is_hex(answer) and len(answer) == 66 else None
