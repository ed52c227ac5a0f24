"""The feed's messages for one block and for a whole reorg, not numbered yet.

The updates of reverted blocks are sent as they were, newest first, with is_revert set and nothing inverted.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from protocols.decoding import Decoded
from protocols.dex import UpdateType
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import Log
from streams.exex.control_layouts import is_on_wire
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    PoolFinal,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
)
from streams.node.blocks import NodeHeader

LARGEST_I128 = 2**127 - 1
SMALLEST_I128 = -(2**127)

FeedMessage = BeginBlock | PoolUpdate | EndBlock | ReorgStart | ReorgEpilogue | ReorgComplete
"""stream_seq is 0 until the server sends the message."""


class FeedBlock(msgspec.Struct, frozen=True):
    header: NodeHeader
    updates: tuple[PoolUpdate, ...]
    """In log order; stream_seq is 0 and is_revert False."""


def feed_block(header: NodeHeader, logs: Sequence[Log], relevant: Iterable[tuple[Log, Decoded]]) -> FeedBlock:
    """`logs`: all logs of the block, because the wire counts log_index within the transaction."""
    first_index: dict[int, int] = {}
    for log in logs:
        first_index[log.transaction_index] = min(log.log_index, first_index.get(log.transaction_index, log.log_index))
    updates = (
        _update(header, log, log.log_index - first_index[log.transaction_index], decoded) for log, decoded in relevant
    )
    return FeedBlock(header, tuple(update for update in updates if update is not None))


def _update(header: NodeHeader, log: Log, log_index: int, decoded: Decoded) -> PoolUpdate | None:
    event = decoded.event
    if not is_on_wire(event):
        return None
    if isinstance(event, LiquidityChange):
        event = msgspec.structs.replace(event, delta=max(SMALLEST_I128, min(event.delta, LARGEST_I128)))
    return PoolUpdate(
        stream_seq=0,
        pool=decoded.pool,
        protocol=decoded.protocol,
        update_type=update_type_of(decoded.event),
        block_number=header.number,
        block_timestamp=header.timestamp,
        tx_index=log.transaction_index,
        log_index=log_index,
        is_revert=False,
        event=event,
    )


def update_type_of(event: Event) -> UpdateType:
    if not isinstance(event, LiquidityChange):
        return "swap"
    return "mint" if event.delta > 0 else "burn"


def block_messages(block: FeedBlock, *, is_revert: bool = False) -> list[FeedMessage]:
    header = block.header
    updates: Iterable[PoolUpdate] = block.updates
    if is_revert:
        updates = (msgspec.structs.replace(update, is_revert=True) for update in reversed(block.updates))
    begin = BeginBlock(0, header.number, header.timestamp, header.base_fee or 0, is_revert)
    return [begin, *updates, EndBlock(0, header.number, len(block.updates))]


def reorg_messages(
    ancestor: NodeHeader, old: Sequence[FeedBlock], new: Sequence[FeedBlock], finals: Iterable[PoolFinal]
) -> Iterator[FeedMessage]:
    """`old` and `new` ascend from the ancestor; `new` is empty where the chain got shorter."""
    tip = new[-1].header if new else ancestor
    yield ReorgStart(0, _range(old), _range(new))
    for block in reversed(old):
        yield from block_messages(block, is_revert=True)
    for block in new:
        yield from block_messages(block)
    for final in finals:
        yield ReorgEpilogue(0, tip.number, tip.timestamp, final)
    yield ReorgComplete(0, tip.number)


def _range(blocks: Sequence[FeedBlock]) -> ReorgRange:
    if not blocks:
        return ReorgRange(None, None, 0)
    return ReorgRange(blocks[0].header.number, blocks[-1].header.number, len(blocks))
