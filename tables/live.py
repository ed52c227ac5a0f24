"""A live pool's state and its memory: the base, the blocks applied since, and the state at any block between. Pure."""

import msgspec

from protocols import folding
from protocols.dex import PoolState
from protocols.registry import Event, PriceState
from protocols.ticks import InvariantViolation, Ticks
from protocols.types import Block
from tables.fees import History, with_events, without_before


class AppliedBlock(msgspec.Struct, frozen=True):
    """A remembered block that brought events to the pool. The states share all ticks that did not change."""

    block: Block
    events: tuple[Event, ...]
    before: PoolState
    after: PoolState
    """At the end of the block."""


class Base(msgspec.Struct, frozen=True):
    """The oldest state that a reorg can go back to."""

    block: Block
    state: PoolState


class Live(msgspec.Struct, frozen=True):
    reference: Block
    """Of the snapshot that made it live."""
    base: Base
    recent: tuple[AppliedBlock, ...]
    """Ascending, all after the base."""
    fees: History = ()
    verified: Block | None = None
    """The newest block at which a snapshot was equal to the state."""
    audit_from: int | None = None
    """The pool asks for an audit as soon as the head is at this block."""

    @property
    def state(self) -> PoolState:
        return self.recent[-1].after if self.recent else self.base.state

    @property
    def price(self) -> PriceState:
        return self.state.price

    @property
    def ticks(self) -> Ticks:
        return self.state.ticks

    @property
    def last_block(self) -> int:
        """The newest block that is part of the state; what is not after it is not applied again."""
        return self.recent[-1].block.number if self.recent else self.base.block.number

    @property
    def last_event_block(self) -> int | None:
        """None where no event came since the snapshot."""
        return None if self.last_block == self.reference.number else self.last_block

    def had_event(self, number: int) -> bool:
        """Whether events were applied after the reference and up to that block, which is not below the base."""
        if self.base.block.number > self.reference.number:
            return True
        return bool(self.recent) and self.recent[0].block.number <= number


def append_block(live: Live, block: Block, events: tuple[Event, ...]) -> Live:
    """Raises InvariantViolation where the events do not follow from the state."""
    before = live.state
    applied = AppliedBlock(block, folding.compact(events), before, folding.apply(before, events))
    fees = with_events(live.fees, events, block)
    return Live(live.reference, live.base, (*live.recent, applied), fees, live.verified, live.audit_from)


def advance_base(live: Live, number: int) -> Live:
    """The blocks up to that number become part of the base."""
    count = _count_up_to(live, number)
    if not count:
        return live
    last = live.recent[count - 1]
    base = Base(last.block, last.after)
    fees = without_before(live.fees, base.block.number)
    return Live(live.reference, base, live.recent[count:], fees, live.verified, live.audit_from)


def state_at(live: Live, number: int) -> PoolState | None:
    """The state at the end of a block on the canonical chain; None before the base."""
    if number < live.base.block.number:
        return None
    count = _count_up_to(live, number)
    return live.recent[count - 1].after if count else live.base.state


def drop_after(live: Live, number: int) -> Live:
    """Without the blocks after that number, which is not below the base.

    Raises InvariantViolation where the blocks that are left do not follow from the base.
    """
    if live.recent and live.recent[0].before != live.base.state:
        raise InvariantViolation(f"block {live.recent[0].block.number} was applied to another state")
    return msgspec.structs.replace(live, recent=live.recent[: _count_up_to(live, number)])


def _count_up_to(live: Live, number: int) -> int:
    """Of the remembered blocks. Those that leave the memory are the first, and the newest are asked for most often."""
    recent = live.recent
    if not recent or recent[0].block.number > number:
        return 0
    if recent[-1].block.number <= number:
        return len(recent)
    return next(at for at, applied in enumerate(recent) if applied.block.number > number)
