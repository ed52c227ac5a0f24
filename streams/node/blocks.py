"""Decodes headers and logs from the JSON of a node's answers."""

from binascii import unhexlify
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec

from protocols.types import Log
from streams.node.blooms import BLOOM_BYTES

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


class UnreadableBlock(Exception):
    """The answer is no block, or no list of logs."""


class NodeHeader(msgspec.Struct, frozen=True):
    number: int
    hash: str
    parent: str
    timestamp: int
    """Seconds since the epoch."""
    base_fee: int | None
    """Wei per gas; None before London."""
    bloom: int | None = None
    """`logsBloom` as one big-endian number; None where the node gives none of 256 bytes."""
    is_empty: bool = False
    """The block used no gas and has no transactions, as far as the node gives them."""


class BlockLog(msgspec.Struct, frozen=True):
    block: int
    log: Log


def decode_header(block: Mapping[str, Any]) -> NodeHeader:
    """From what `eth_getBlockBy…` and `newHeads` give. Raises UnreadableBlock."""
    try:
        return NodeHeader(
            number=int(block["number"], 16),
            hash=block["hash"].lower(),
            parent=block["parentHash"].lower(),
            timestamp=int(block["timestamp"], 16),
            base_fee=None if block.get("baseFeePerGas") is None else int(block["baseFeePerGas"], 16),
            bloom=_bloom(block.get("logsBloom")),
            is_empty=block.get("gasUsed") == "0x0" and not block.get("transactions"),
        )
    except UNREADABLE as error:
        raise UnreadableBlock(f"a block that cannot be read: {error!r}") from error


def decode_logs(items: Any, block_hash: str) -> list[Log]:
    """Of one block, in log order. Raises UnreadableBlock, also for logs of another block."""
    try:
        if any(item["blockHash"].lower() != block_hash.lower() for item in items):
            raise UnreadableBlock(f"logs of another block than {block_hash}")
        return sorted(map(_log, items), key=attrgetter("log_index"))
    except UNREADABLE as error:
        raise UnreadableBlock(f"logs that cannot be read: {error!r}") from error


def decode_block_logs(items: Any) -> list[BlockLog]:
    """Of any blocks, in the node's order. Raises UnreadableBlock."""
    try:
        return [BlockLog(int(item["blockNumber"], 16), _log(item)) for item in items]
    except UNREADABLE as error:
        raise UnreadableBlock(f"logs that cannot be read: {error!r}") from error


def _bloom(given: Any) -> int | None:
    if not isinstance(given, str) or not given.startswith("0x") or len(given) != 2 + 2 * BLOOM_BYTES:
        return None
    return int.from_bytes(bytes.fromhex(given[2:]))


def _log(raw: Mapping[str, Any]) -> Log:
    return Log(
        raw["address"].lower(),
        tuple([unhexlify(topic[2:]) for topic in raw["topics"]]),
        unhexlify(raw["data"][2:]),
        int(raw["transactionIndex"], 16),
        int(raw["logIndex"], 16),
    )
