"""Decodes headers and logs from the JSON of a node's answers."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec

from protocols.types import Log
from streams.node.blooms import BLOOM_BYTES
from streams.node.transport.hex_values import address_text, counter, data, hash_text, quantity, word

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


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
            number=counter(block["number"]),
            hash=hash_text(block["hash"]),
            parent=hash_text(block["parentHash"]),
            timestamp=counter(block["timestamp"]),
            base_fee=None if block.get("baseFeePerGas") is None else quantity(block["baseFeePerGas"]),
            bloom=_bloom(block.get("logsBloom")),
            is_empty=block.get("gasUsed") == "0x0" and not block.get("transactions"),
        )
    except UNREADABLE as error:
        raise UnreadableBlock(f"a block that cannot be read: {error!r}") from error


def decode_logs(items: Any, block_hash: str) -> list[Log]:
    """Of one block, in log order. Raises UnreadableBlock, also for logs of another block, and for a log given twice."""
    try:
        wanted = block_hash.lower()
        if any(item["blockHash"].lower() != wanted for item in _listed(items)):
            raise UnreadableBlock(f"logs of another block than {block_hash}")
        logs = sorted(map(_log, items), key=attrgetter("log_index"))
    except UNREADABLE as error:
        raise UnreadableBlock(f"logs that cannot be read: {error!r}") from error
    if len({(log.transaction_index, log.log_index) for log in logs}) < len(logs):
        raise UnreadableBlock(f"a log of block {block_hash} twice")
    return logs


def decode_block_logs(items: Any) -> list[BlockLog]:
    """Of any blocks, in the node's order. Raises UnreadableBlock."""
    try:
        return [BlockLog(counter(item["blockNumber"]), _log(item)) for item in _listed(items)]
    except UNREADABLE as error:
        raise UnreadableBlock(f"logs that cannot be read: {error!r}") from error


def _bloom(given: Any) -> int | None:
    if not isinstance(given, str) or not given.startswith("0x") or len(given) != 2 + 2 * BLOOM_BYTES:
        return None
    return int.from_bytes(data(given))


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise TypeError(f"{str(items)[:100]!r} is no list")
    return items


def _log(raw: Mapping[str, Any]) -> Log:
    return Log(
        address_text(raw["address"]),
        tuple([word(topic) for topic in _listed(raw["topics"])]),
        data(raw["data"]),
        counter(raw["transactionIndex"]),
        counter(raw["logIndex"]),
    )
