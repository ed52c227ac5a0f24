"""The reorg in hand: which blocks it still has to take back and to bring, and whether it is whole at its end. Pure."""

from streams.exex.control_messages import BeginBlock, ReorgRange, ReorgStart
from streams.exex.steps import AssembledBlock, AssembledReorg
from streams.exex.violations import (
    ImpossibleReorgRange,
    ReorgRangeMismatch,
    ReorgTipMismatch,
    UnexpectedReorgBlock,
)

NO_BLOCKS = ReorgRange(None, None, 0)


class PendingReorg:
    def __init__(self, start: ReorgStart) -> None:
        """Raises ImpossibleReorgRange."""
        first = _first(start.old)
        if first is None or first == 0 or (start.new != NO_BLOCKS and _first(start.new) != first):
            raise ImpossibleReorgRange(_range(start.old), _range(start.new))
        self._old, self._new = start.old, start.new
        self.ancestor = first - 1
        """The highest block that stays."""
        self._reverted = 0
        self._blocks: list[AssembledBlock] = []

    @property
    def tip(self) -> int:
        """The last block so far; the ancestor before the first new one."""
        return self.ancestor + len(self._blocks)

    def check_begin(self, begin: BeginBlock) -> None:
        """Old blocks come newest first, then the new ones, ascending. Raises UnexpectedReorgBlock."""
        if self._reverted < self._old.count:
            expected, is_revert = self.ancestor + self._old.count - self._reverted, True
        else:
            expected, is_revert = self.tip + 1, False
        if (begin.block_number, begin.is_revert) != (expected, is_revert):
            raise UnexpectedReorgBlock((expected, is_revert), (begin.block_number, begin.is_revert))

    def revert(self) -> None:
        """One of the old blocks is taken back."""
        self._reverted += 1

    def add(self, block: AssembledBlock) -> None:
        self._blocks.append(block)

    def check_end(self, tip: int) -> None:
        """What an epilogue or the end says is the tip. Raises ReorgRangeMismatch, ReorgTipMismatch."""
        for announced, received in ((self._old, self._reverted), (self._new, len(self._blocks))):
            if announced.count != received:
                brought = range(self.ancestor + 1, self.ancestor + 1 + received)
                raise ReorgRangeMismatch(_range(announced), brought)
        if tip != self.tip:
            raise ReorgTipMismatch(self.tip, tip)

    def complete(self, tip: int) -> AssembledReorg:
        self.check_end(tip)
        return AssembledReorg(self.ancestor, tuple(self._blocks))


def _first(blocks: ReorgRange) -> int | None:
    """None where first, last and count do not fit together."""
    if blocks.first is None or blocks.last is None or blocks.last - blocks.first + 1 != blocks.count:
        return None
    return blocks.first if blocks.count else None


def _range(blocks: ReorgRange) -> tuple[int | None, int | None, int]:
    return blocks.first, blocks.last, blocks.count
