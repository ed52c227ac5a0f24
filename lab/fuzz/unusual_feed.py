"""A feed's steps as an unusual or a lying feed would send them, before its messages are numbered.

What it numbers is contiguous, so that no hole in the sequence gives it away. A step is all messages of a block, or of a
reorg. UNUSUAL keeps the protocol's promises, or breaks them as the text of the wire warns of; LIES break one each.
"""

from collections.abc import Callable, Sequence
from random import Random

from msgspec.structs import replace

from protocols.registry import Event
from protocols.ticks import LiquidityChange
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
)
from streams.feed.blocks import FeedMessage

Step = list[FeedMessage]
Change = Callable[[Random, Step], Step]
FAR = (0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1)


def as_it_is(_: Random, step: Step) -> Step:
    return step


def nothing(_: Random, step: Step) -> Step:
    """A block that the node skips, or a reorg that it forgets after a crash."""
    return []


def again(_: Random, step: Step) -> Step:
    """As after a crash: it continues behind what it sent."""
    return [*step, *step]


def without_reverted_updates(_: Random, step: Step) -> Step:
    kept: Step = []
    for message in step:
        if isinstance(message, PoolUpdate) and message.is_revert:
            continue
        reverted = isinstance(message, EndBlock) and any(isinstance(m, BeginBlock) and m.is_revert for m in kept[-1:])
        kept.append(replace(message, num_updates=0) if isinstance(message, EndBlock) and reverted else message)
    return kept


def without_epilogues(_: Random, step: Step) -> Step:
    return [message for message in step if not isinstance(message, ReorgEpilogue)]


def epilogues_without_time(_: Random, step: Step) -> Step:
    return [replace(each, final_tip_timestamp=0) if isinstance(each, ReorgEpilogue) else each for each in step]


def shorter_first(_: Random, step: Step) -> Step:
    """A reorg as a pure revert, and its new blocks as blocks of their own."""
    start = step[0]
    if not isinstance(start, ReorgStart) or start.new.count == 0 or start.old.first is None:
        return step
    begins = [place for place, message in enumerate(step) if isinstance(message, BeginBlock)]
    first_new = next(place for place in begins if not _begin(step, place).is_revert)
    last_end = max(place for place, message in enumerate(step) if isinstance(message, EndBlock))
    reverted_only = [replace(start, new=ReorgRange(None, None, 0)), *step[1:first_new]]
    return [*reverted_only, ReorgComplete(0, start.old.first - 1), *step[first_new : last_end + 1]]


def new_blocks_only(_: Random, step: Step) -> Step:
    """On another fork, without a word of the reorg."""
    return [message for block in _blocks(step) for message in block if not _begin(block, 0).is_revert]


UNUSUAL: tuple[Change, ...] = (
    *(as_it_is,) * 6,
    nothing,
    again,
    without_reverted_updates,
    without_epilogues,
    epilogues_without_time,
    shorter_first,
    new_blocks_only,
)


def a_message_less(random: Random, step: Step) -> Step:
    at = random.randrange(len(step))
    return step[:at] + step[at + 1 :]


def a_message_twice(random: Random, step: Step) -> Step:
    at, to = random.randrange(len(step)), random.randrange(len(step))
    return [*step[:to], step[at], *step[to:]]


def two_swapped(random: Random, step: Step) -> Step:
    changed = list(step)
    at, other = random.randrange(len(step)), random.randrange(len(step))
    changed[at], changed[other] = changed[other], changed[at]
    return changed


def a_field_changed(random: Random, step: Step) -> Step:
    """Any number of a message, but those of an event."""
    changed = list(step)
    at = random.randrange(len(step))
    changed[at] = _changed(random, changed[at])
    return changed


def a_value_changed(random: Random, step: Step) -> Step:
    """The values of an update: only a node can tell."""
    changed = list(step)
    places = [place for place, message in enumerate(step) if isinstance(message, PoolUpdate)]
    if places:
        at = random.choice(places)
        update = changed[at]
        assert isinstance(update, PoolUpdate)
        changed[at] = replace(update, event=_changed_event(random, update))
    return changed


def reverted(_: Random, step: Step) -> Step:
    """Outside a reorg."""
    return [replace(message, is_revert=True) if hasattr(message, "is_revert") else message for message in step]


def endless(random: Random, step: Step) -> Step:
    return step[: random.randrange(len(step))]


def headless(random: Random, step: Step) -> Step:
    return step[random.randrange(len(step)) :]


STRUCTURAL: tuple[Change, ...] = (
    a_message_less,
    a_message_twice,
    two_swapped,
    a_field_changed,
    reverted,
    endless,
    headless,
)
"""Lies about what belongs together."""
LIES: tuple[Change, ...] = (*STRUCTURAL, a_value_changed)


def as_sent(random: Random, step: Step, changes: Sequence[Change]) -> Step:
    """After one of the changes; a step of no message stays so."""
    return random.choice(changes)(random, step) if step else step


def _begin(step: Sequence[FeedMessage], at: int) -> BeginBlock:
    begin = step[at]
    assert isinstance(begin, BeginBlock)
    return begin


def _blocks(step: Step) -> list[Step]:
    begins = [place for place, message in enumerate(step) if isinstance(message, BeginBlock)]
    ends = [place for place, message in enumerate(step) if isinstance(message, EndBlock)]
    return [step[begin : end + 1] for begin, end in zip(begins, ends, strict=True)]


def _changed(random: Random, message: FeedMessage) -> FeedMessage:
    match message:
        case ReorgStart(old=old, new=new):
            side = random.choice(("old", "new"))
            return replace(message, **{side: _changed_range(random, old if side == "old" else new)})
        case PoolUpdate():
            names: tuple[str, ...] = ("block_number", "block_timestamp", "tx_index", "log_index")
        case _:
            names = tuple(name for name in message.__struct_fields__ if type(getattr(message, name)) is int)
    name = random.choice([name for name in names if name != "stream_seq"])
    return replace(message, **{name: _near(random, getattr(message, name))})


def _changed_range(random: Random, blocks: ReorgRange) -> ReorgRange:
    if blocks.first is None or blocks.last is None:
        return ReorgRange(1, 1, 1)
    name = random.choice(("first", "last", "count"))
    return replace(blocks, **{name: _near(random, getattr(blocks, name))})


def _changed_event(random: Random, update: PoolUpdate) -> Event:
    event = update.event
    if isinstance(event, LiquidityChange):
        return replace(event, delta=event.delta * 2 if event.delta else 0)
    name = random.choice(event.__struct_fields__)
    value = getattr(event, name)
    changed: Event = replace(event, **{name: value + 1 if value <= 0 else value - 1})
    return changed


def _near(random: Random, value: int) -> int:
    changed = random.choice((value - 1, value + 1, value + 64, *FAR))
    return min(max(changed, 0), 2**64 - 1)
