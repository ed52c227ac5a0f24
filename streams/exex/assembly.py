"""Messages of the control protocol become whole steps of the chain: a block, or a reorg with all its new blocks.

Pure. Each rule of the protocol is checked here; a violation raises with the facts. The caller then goes on with a new
Assembly, which joins the stream at the next whole step, and reads what is missing from the node.
"""

from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    PoolFinal,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgStart,
    Skipped,
)
from streams.exex.pending_reorg import PendingReorg
from streams.exex.steps import AssembledBlock, AssembledReorg, Step, check_amounts_of
from streams.exex.violations import (
    BlockNumberMismatch,
    ClampedValue,
    ReorgStartMissing,
    SequenceGap,
    TimestampMismatch,
    UnexpectedMessage,
    UpdateCountMismatch,
    UpdatesOutOfOrder,
)

LARGEST_I128 = 2**127 - 1
SMALLEST_I128 = -(2**127)
FIRST_SEQ = 1


class Assembly:
    """`receive` gives a step when it is whole, else None; raises ProtocolViolation."""

    def __init__(self) -> None:
        self._next_seq: int | None = None
        self._joined = False
        self._unseen_reorg_next: int | None = None
        """Joined inside a reorg: the new block that must come next."""
        self._reorg: PendingReorg | None = None
        self._begin: BeginBlock | None = None
        self._updates: dict[PoolId, list[Event]] = {}
        self._count = 0
        self._last_key = (-1, -1)

    @property
    def is_in_reorg(self) -> bool:
        return self._reorg is not None

    def receive(self, message: Message) -> Step | None:
        self._check_sequence(message.stream_seq)
        if not self._joined and not self._joins(message):
            return None
        match message:
            case EndBlock():
                return self._end_block(message)
            case ReorgComplete():
                return self._complete_reorg(message.final_tip_block)
            case BeginBlock():
                self._begin_block(message)
            case PoolUpdate() | Skipped():
                self._update(message)
            case ReorgStart():
                self._start_reorg(message)
            case ReorgEpilogue():
                self._check_epilogue(message)
        return None

    def _check_sequence(self, received: int) -> None:
        expected = self._next_seq if self._next_seq is not None else max(received, FIRST_SEQ)
        if received != expected:
            raise SequenceGap(expected, received)
        self._next_seq = received + 1

    def _joins(self, message: Message) -> bool:
        match message:
            case BeginBlock(is_revert=True) | PoolUpdate(is_revert=True) | Skipped(is_revert=True):
                self._unseen_reorg_next = message.block_number
            case ReorgComplete():
                self._unseen_reorg_next = None
            case BeginBlock():
                self._joined = not self._is_of_unseen_reorg(message.block_number)
            case ReorgStart():
                self._joined = True
        return self._joined

    def _is_of_unseen_reorg(self, number: int) -> bool:
        expected = self._unseen_reorg_next
        if expected is None:
            return False
        if number != expected:
            raise UnexpectedMessage(f"block {number} began", f"where block {expected} of a reorg was to come")
        self._unseen_reorg_next = expected + 1
        return True

    def _begin_block(self, message: BeginBlock) -> None:
        if self._begin is not None:
            raise UnexpectedMessage(
                f"block {message.block_number} began", f"before block {self._begin.block_number} ended"
            )
        if self._reorg is not None:
            self._reorg.check_begin(message)
        elif message.is_revert:
            raise UnexpectedMessage(f"block {message.block_number} was reverted", "outside a reorg")
        self._begin, self._updates, self._count, self._last_key = message, {}, 0, (-1, -1)

    def _update(self, message: PoolUpdate | Skipped) -> None:
        begin = self._begin
        if begin is None:
            raise UnexpectedMessage(f"update {message.stream_seq}", "came outside any block")
        self._count += 1
        if (message.block_number, message.is_revert) != (begin.block_number, begin.is_revert):
            raise BlockNumberMismatch(begin.block_number, message.block_number, "an update")
        if message.block_timestamp != begin.block_timestamp:
            raise TimestampMismatch(begin.block_number, begin.block_timestamp, message.block_timestamp)
        if isinstance(message, PoolUpdate):
            self._keep(message)

    def _keep(self, message: PoolUpdate) -> None:
        """Of a reverted block nothing is kept, in whatever order it comes: the workers' own memory undoes it."""
        check_amounts_of(message.block_number, message.pool, message.event)
        if message.is_revert:
            return
        key = (message.tx_index, message.log_index)
        if key <= self._last_key:
            raise UpdatesOutOfOrder(message.block_number, self._last_key, key)
        self._last_key = key
        if isinstance(message.event, LiquidityChange) and message.event.delta in (SMALLEST_I128, LARGEST_I128):
            raise ClampedValue(message.block_number, message.pool)
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
        block = _assembled_block(begin, self._updates)
        if self._reorg is None:
            return block
        if begin.is_revert:
            self._reorg.revert()
        else:
            self._reorg.add(block)
        return None

    def _start_reorg(self, message: ReorgStart) -> None:
        if self._begin is not None or self._reorg is not None:
            raise UnexpectedMessage("a reorg began", "inside a block or another reorg")
        self._reorg = PendingReorg(message)

    def _check_epilogue(self, message: ReorgEpilogue) -> None:
        """Its timestamp is not compared: of V2 pools it is 0."""
        self._ending_reorg(message.final_tip_block).check_end(message.final_tip_block)
        if isinstance(message.update, PoolFinal):
            check_amounts_of(message.final_tip_block, message.update.pool, message.update.price)

    def _complete_reorg(self, tip: int) -> AssembledReorg:
        step = self._ending_reorg(tip).complete(tip)
        self._reorg = None
        return step

    def _ending_reorg(self, tip: int) -> PendingReorg:
        if self._reorg is None:
            raise ReorgStartMissing(tip)
        if self._begin is not None:
            raise UnexpectedMessage("the end of a reorg", f"came before block {self._begin.block_number} ended")
        return self._reorg


def _assembled_block(begin: BeginBlock, updates: dict[PoolId, list[Event]]) -> AssembledBlock:
    return AssembledBlock(
        number=begin.block_number,
        timestamp=begin.block_timestamp,
        base_fee=begin.base_fee_per_gas,
        updates={pool: tuple(events) for pool, events in updates.items()},
    )
