"""The tokens with the most ERC-20 transfers over the last blocks, counted from the node's logs in sampled blocks."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec

from streams.json_input import InvalidJson, decode_json
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.log_ranges import LogsRefused, RangeWidth, logs_in_ranges
from whitelist.contract_abis import TRANSFER
from whitelist.sources.query import SourceFailed

ERC20_TOPICS = 3
"""ERC-721 has the same topic0, and the token's number as a fourth topic."""
SAMPLED_BLOCKS = 100
"""Evenly spread over a longer range. The most transferred tokens are the same, from a tenth of the logs."""
MAX_TOKENS = 10_000

_counts = msgspec.json.Decoder(dict[str, int])


async def count_transfers(node: Node, last: int, blocks: int, timeout_s: float) -> bytes:
    """Transfers by token in the sampled blocks, most first, as JSON. Raises SourceFailed."""
    counts: Counter[str] = Counter()
    query = {"topics": ["0x" + TRANSFER.topic0.hex()]}
    try:
        async with asyncio.timeout(timeout_s):
            for sampled in sampled_ranges(max(0, last - blocks + 1), last):
                async for logs in logs_in_ranges(node, query, sampled.start, sampled.stop - 1, RangeWidth(100)):
                    counts.update(each.log.address for each in logs if len(each.log.topics) == ERC20_TOPICS)
    except TimeoutError as error:
        raise SourceFailed(f"{blocks} blocks of transfers were not counted within {timeout_s:g} s") from error
    except (LogsRefused, NodeUnavailable, RpcError, ValueError) as error:  # ValueError: an unusable URL or answer
        raise SourceFailed(f"the node does not give the transfers: {node.rpc.scrub(str(error))}") from error
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return msgspec.json.encode(dict(ranked[:MAX_TOKENS]))


def sampled_ranges(first: int, last: int) -> Sequence[range]:
    """All blocks, or of many SAMPLED_BLOCKS single ones, the newest among them."""
    count = last - first + 1
    if count <= SAMPLED_BLOCKS:
        return [range(first, last + 1)]
    numbers = [last - index * count // SAMPLED_BLOCKS for index in range(SAMPLED_BLOCKS)]
    return [range(number, number + 1) for number in reversed(numbers)]


def parse(body: bytes) -> dict[str, int]:
    """Raises SourceFailed."""
    try:
        counts = decode_json(_counts, body)
    except InvalidJson as error:
        raise SourceFailed(f"the counts cannot be read: {error}") from error
    if not counts:
        raise SourceFailed("no transfer was found")
    return counts
