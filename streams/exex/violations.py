"""The ways in which a feed can break its protocol, each an exception with the facts. Pure."""

from protocols.types import AmountOutOfBounds, PoolId


class ProtocolViolation(Exception):
    """The feed broke its protocol; the blocks concerned have to come from the node."""


class SequenceGap(ProtocolViolation):
    def __init__(self, expected: int, received: int) -> None:
        self.expected, self.received = expected, received
        super().__init__(f"expected message {expected} of the feed, received {received}")


class UpdateCountMismatch(ProtocolViolation):
    def __init__(self, number: int, announced: int, received: int) -> None:
        self.number, self.announced, self.received = number, announced, received
        super().__init__(f"block {number} ended with {announced} updates announced and {received} received")


class BlockNumberMismatch(ProtocolViolation):
    def __init__(self, expected: int, received: int, message: str) -> None:
        self.expected, self.received = expected, received
        super().__init__(f"{message} of block {received} inside block {expected}")


class TimestampMismatch(ProtocolViolation):
    def __init__(self, number: int, expected: int, received: int) -> None:
        self.number, self.expected, self.received = number, expected, received
        super().__init__(f"block {number} began with timestamp {expected}, an update of it has {received}")


class UpdatesOutOfOrder(ProtocolViolation):
    def __init__(self, number: int, last: tuple[int, int], received: tuple[int, int]) -> None:
        self.number, self.last, self.received = number, last, received
        super().__init__(f"block {number}: update {received} after {last} (transaction, log)")


class ImpossibleAmount(ProtocolViolation):
    def __init__(self, number: int, pool: PoolId, error: AmountOutOfBounds) -> None:
        self.number, self.pool = number, pool
        super().__init__(f"block {number}: an update of {pool}: {error}")


class ClampedValue(ProtocolViolation):
    def __init__(self, number: int, pool: PoolId) -> None:
        self.number, self.pool = number, pool
        super().__init__(f"block {number}: a liquidity change of {pool} at the limit of i128 may have been clamped")


class UnexpectedMessage(ProtocolViolation):
    def __init__(self, message: str, where: str) -> None:
        super().__init__(f"{message} {where}")


class ReorgStartMissing(ProtocolViolation):
    """The start of the reorg was never seen, so the blocks taken since joining may have replaced others."""

    def __init__(self, tip: int) -> None:
        self.tip = tip
        super().__init__(f"a reorg to block {tip} ended whose start was not seen")


FEW = 10

Range = tuple[int | None, int | None, int]
"""First block, last block and count, as a reorg announces them."""


class ReorgRangeMismatch(ProtocolViolation):
    def __init__(self, announced: Range, received: range) -> None:
        self.announced, self.received = announced, tuple(received)
        brought = str(list(received)) if len(received) <= FEW else f"{len(received)} blocks from {received.start}"
        super().__init__(f"a reorg announced blocks (first, last, count) {announced} and brought {brought}")


class ImpossibleReorgRange(ReorgRangeMismatch):
    """First, last and count do not fit together, or the new blocks do not begin where the old ones do."""

    def __init__(self, old: Range, new: Range) -> None:
        self.announced, self.received = new, ()
        ProtocolViolation.__init__(self, f"no reorg can replace blocks {old} by {new} (first, last, count)")


class UnexpectedReorgBlock(ProtocolViolation):
    """Each of both is a block's number and whether it is reverted."""

    def __init__(self, expected: tuple[int, bool], received: tuple[int, bool]) -> None:
        self.expected, self.received = expected, received
        super().__init__(f"inside a reorg {_block(*received)} began instead of {_block(*expected)}")


class ReorgTipMismatch(ProtocolViolation):
    def __init__(self, expected: int, received: int) -> None:
        self.expected, self.received = expected, received
        super().__init__(f"a reorg that leads to block {expected} ended with block {received} as its tip")


def _block(number: int, is_revert: bool) -> str:
    return f"{'reverted' if is_revert else 'new'} block {number}"
