"""Fees that a pool keeps apart from its price (V4): read by snapshots, each known from a block on. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from protocols import folding
from protocols.dex import Fees
from protocols.registry import Event
from protocols.types import Block


class KnownFees(msgspec.Struct, frozen=True):
    fees: Fees
    since: Block
    """The block of the snapshot or event that they are known from; on another fork they are not."""


History = tuple[KnownFees, ...]
"""Ascending by `since`."""


def fees_at(history: Iterable[KnownFees], number: int) -> Fees | None:
    """The newest that were known at the end of a block; None where none were."""
    known = [each.fees for each in history if each.since.number <= number]
    return known[-1] if known else None


def with_read(history: History, read: Fees | None, block: Block) -> History:
    """A snapshot of that block read them."""
    if read is None:
        return history
    before = tuple(each for each in history if each.since.number < block.number)
    after = tuple(each for each in history if each.since.number > block.number)
    return (*before, KnownFees(read, block), *after)


def with_events(history: History, events: Sequence[Event], block: Block) -> History:
    """What the events of a block after the newest read leave of the fees; where none are known they stay unknown."""
    if not history or history[-1].since.number > block.number:
        return history
    fees = folding.fees_after(history[-1].fees, events)
    return history if fees == history[-1].fees else (*history, KnownFees(fees, block))


def without_after(history: History, number: int) -> History:
    """Those of the blocks after that number are of a fork that is gone."""
    return tuple(each for each in history if each.since.number <= number)


def without_before(history: History, number: int) -> History:
    """Those that no block from that number on needs are dropped."""
    old = [each for each in history if each.since.number <= number]
    return history[max(len(old) - 1, 0) :]
