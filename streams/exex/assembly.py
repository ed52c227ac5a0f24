"""Messages of the control protocol become whole steps of the chain: a block, or a reorg with all its new blocks.

Pure. Each rule of the protocol is checked here; a violation raises with the facts. The caller then goes on with a new
Assembly, which joins the stream at the next whole step, and reads what is missing from the node.
"""

from collections.abc import Iterable

from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgStart,
    Skipped,
)
from streams.exex.steps import AssembledBlock, AssembledReorg, Step, check_event
from streams.exex.violations import (
    BlockNumberMismatch,
    ClampedValue,
    ReorgRangeMismatch,
    ReorgStartMissing,
    SequenceGap,
    UnexpectedMessage,
    UpdateCountMismatch,
    UpdatesOutOfOrder,
)

LARGEST_I128 = 2**127 - 1
SMALLEST_I128 = -(2**127)


class Assembly:
    """`receive` gives a step when it is whole, else None; raises ProtocolViolation."""

    def __init__(self) -> None:
        self._next_seq: int | None = None
        self._joined = False
        self._in_reorg_unseen = False
        self._reorg: ReorgStart | None = None
        self._blocks: list[AssembledBlock] = []
        self._begin: BeginBlock | None = None
        self._updates: dict[PoolId, list[Event]] = {}
        self._count = 0
        self._last_key = (-1, -1)

    def receive(self, message: Message) -> Step | None:
        self._check_sequence(message.stream_seq)
        if not self._joined and not self._joins(message):
            return None
        match message:
            case EndBlock():
                return self._end_block(message)
            case ReorgComplete():
                return self._complete_reorg(message)
            case BeginBlock():
                self._begin_block(message)
            case PoolUpdate() | Skipped():
                self._update(message)
            case ReorgStart():
                self._start_reorg(message)
            case ReorgEpilogue():
                self._check_epilogue(message.final_tip_block)
        return None

    def _check_sequence(self, received: int) -> None:
        if self._next_seq is not None and received != self._next_seq:
            raise SequenceGap(self._next_seq, received)
        self._next_seq = received + 1

    def _joins(self, message: Message) -> bool:
        match message:
            case BeginBlock(is_revert=True) | PoolUpdate(is_revert=True):
                self._in_reorg_unseen = True
            case ReorgComplete():
                self._in_reorg_unseen = False
            case BeginBlock() | ReorgStart():
                self._joined = not self._in_reorg_unseen
        return self._joined

    def _begin_block(self, message: BeginBlock) -> None:
        if self._begin is not None:
            raise UnexpectedMessage(
                f"block {message.block_number} began", f"before block {self._begin.block_number} ended"
            )
        if message.is_revert and self._reorg is None:
            raise UnexpectedMessage(f"block {message.block_number} was reverted", "outside a reorg")
        self._begin, self._updates, self._count, self._last_key = message, {}, 0, (-1, -1)

    def _update(self, message: PoolUpdate | Skipped) -> None:
        begin = self._begin
        if begin is None:
            raise UnexpectedMessage(f"update {message.stream_seq}", "came outside any block")
        self._count += 1
        if isinstance(message, Skipped):
            return
        if (message.block_number, message.is_revert) != (begin.block_number, begin.is_revert):
            raise BlockNumberMismatch(begin.block_number, message.block_number, "an update")
        if not begin.is_revert:
            self._keep(message)

    def _keep(self, message: PoolUpdate) -> None:
        key = (message.tx_index, message.log_index)
        if key <= self._last_key:
            raise UpdatesOutOfOrder(message.block_number, self._last_key, key)
        if isinstance(message.event, LiquidityChange) and message.event.delta in (SMALLEST_I128, LARGEST_I128):
            raise ClampedValue(message.block_number, message.pool)
        check_event(message.block_number, message.pool, message.event)
        self._last_key = key
        self._updates.setdefault(message.pool, []).append(message.event)

    def _end_block(self, message: EndBlock) -> AssembledBlock | None:
        begin = self._begin
        if begin is None:
            raise UnexpectedMessage(f"block {message.block_number} ended", "without having begun")
        if message.block_number != begin.block_number:
            raise BlockNumberMismatch(begin.block_number, message.block_number, "the end")
        if message.num_updates != self._count:
            raise UpdateCountMismatch(message.block_number, message.num_updates, self._count)
        self._begin = None
        if begin.is_revert:
            return None
        block = _assembled_block(begin, self._updates)
        if self._reorg is None:
            return block
        self._blocks.append(block)
        return None

    def _start_reorg(self, message: ReorgStart) -> None:
        if self._begin is not None or self._reorg is not None:
            raise UnexpectedMessage("a reorg began", "inside a block or another reorg")
        self._reorg, self._blocks = message, []

    def _check_epilogue(self, tip: int) -> None:
        if self._reorg is None:
            raise ReorgStartMissing(tip)
        if self._begin is not None:
            raise UnexpectedMessage("the end of a reorg", f"came before block {self._begin.block_number} ended")

    def _complete_reorg(self, message: ReorgComplete) -> AssembledReorg:
        self._check_epilogue(message.final_tip_block)
        assert self._reorg is not None
        reorg, self._reorg = self._reorg, None
        _check_range(reorg, self._blocks)
        return AssembledReorg(_ancestor(reorg, message), tuple(self._blocks))


def _assembled_block(begin: BeginBlock, updates: dict[PoolId, list[Event]]) -> AssembledBlock:
    return AssembledBlock(
        number=begin.block_number,
        timestamp=begin.block_timestamp,
        base_fee=begin.base_fee_per_gas,
        updates={pool: tuple(events) for pool, events in updates.items()},
    )


def _check_range(reorg: ReorgStart, blocks: Iterable[AssembledBlock]) -> None:
    first, last, count = announced = (reorg.new.first, reorg.new.last, reorg.new.count)
    received = tuple(block.number for block in blocks)
    expected = range(0)
    if first is not None and last is not None:  # which may be any numbers: no more are looked at than can be right
        expected = range(first, min(last, first + len(received)) + 1)
    if received != tuple(expected) or count != len(received):
        raise ReorgRangeMismatch(announced, received)


def _ancestor(reorg: ReorgStart, complete: ReorgComplete) -> int:
    first = reorg.old.first if reorg.old.first is not None else reorg.new.first
    return complete.final_tip_block if first is None else first - 1
