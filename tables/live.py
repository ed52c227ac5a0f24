"""A live pool's state and its memory: the base, the blocks applied since, and the state at any block between. Pure."""

from collections.abc import Iterable

import msgspec

from protocols import folding
from protocols.dex import PoolState
from protocols.registry import Event, PriceState
from protocols.ticks import Ticks
from protocols.types import Block
from tables.fees import History, with_events, without_before


class AppliedBlock(msgspec.Struct, frozen=True):
    """A remembered block that brought events to the pool."""

    block: Block
    events: tuple[Event, ...]
    after: PriceState
    """At the end of the block."""


class Base(msgspec.Struct, frozen=True):
    """The oldest state that a reorg can go back to."""

    block: Block
    price: PriceState
    ticks: Ticks


class Live(msgspec.Struct, frozen=True):
    reference: Block
    """Of the snapshot that made it live."""
    base: Base
    recent: tuple[AppliedBlock, ...]
    """Ascending, all after the base."""
    ticks: Ticks
    """After the last of `recent`."""
    fees: History = ()
    verified: Block | None = None
    """The newest block at which a snapshot was equal to the state."""
    audit_from: int | None = None
    """The pool asks for an audit as soon as the head is at this block."""

    @property
    def price(self) -> PriceState:
        return self.recent[-1].after if self.recent else self.base.price

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
    after = folding.apply(PoolState(live.price, live.ticks), events)
    recent = (*live.recent, AppliedBlock(block, folding.compact(events), after.price))
    return msgspec.structs.replace(live, recent=recent, ticks=after.ticks, fees=with_events(live.fees, events, block))


def advance_base(live: Live, number: int) -> Live:
    """The blocks up to that number become part of the base."""
    old = [applied for applied in live.recent if applied.block.number <= number]
    if not old:
        return live
    base = Base(old[-1].block, old[-1].after, _replay(live, old).ticks)
    fees = without_before(live.fees, base.block.number)
    return msgspec.structs.replace(live, base=base, recent=live.recent[len(old) :], fees=fees)


def state_at(live: Live, number: int) -> PoolState | None:
    """The state at the end of a block on the canonical chain; None before the base."""
    if number < live.base.block.number:
        return None
    if number >= live.last_block:
        return PoolState(live.price, live.ticks)
    return _replay(live, (applied for applied in live.recent if applied.block.number <= number))


def drop_after(live: Live, number: int) -> Live:
    """Without the blocks after that number, which is not below the base."""
    kept = tuple(applied for applied in live.recent if applied.block.number <= number)
    return msgspec.structs.replace(live, recent=kept, ticks=_replay(live, kept).ticks)


def _replay(live: Live, blocks: Iterable[AppliedBlock]) -> PoolState:
    state = PoolState(live.base.price, live.base.ticks)
    for applied in blocks:
        state = PoolState(applied.after, folding.apply(state, applied.events).ticks)
    return state
