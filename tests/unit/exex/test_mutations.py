"""Mutated streams of all nine protocols: whole steps of the stream, or a named violation, and nothing else.

A changed byte inside a value that stays well-formed is another value, which nobody can tell from a true one: it comes
out as the frames spell it. What comes out is therefore compared with a grammar of the wire, written without the
state machine; and where only whole frames were lost, doubled, moved or put in between, with the steps of the stream.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.fuzz.wire import golden
from lab.fuzz.world import control_frames, random_world
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId, bounds_of
from streams.bridge.feed_reader import ControlWire, FeedStep, StepLost
from streams.exex.bincode import BadFrame
from streams.exex.control import PREFIX, Decoder
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    PoolFinal,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgRange,
    ReorgStart,
    Skipped,
)
from streams.exex.steps import AssembledBlock, AssembledReorg, Step

SEEDS = st.integers(0, 200)
FIRST_SEQ = 1000
"""No golden frame continues the stream by chance."""
GOLDEN = golden("control.jsonl")
AROUND = 25
"""Frames before and after the one that is changed."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of violations are expected."""
    caplog.set_level(logging.ERROR)


class Stream(NamedTuple):
    frames: tuple[bytes, ...]
    steps: tuple[Step, ...]
    last_frames: tuple[int, ...]
    """Of each step."""

    @property
    def blocks(self) -> list[Step]:
        return [block for step in self.steps if isinstance(step, AssembledReorg) for block in step.blocks]


@cache
def stream(seed: int) -> Stream:
    frames = tuple(map(renumbered, control_frames(random_world(Random(seed)))))
    wire = ControlWire()
    ends = [(step, at) for at, frame in enumerate(frames) for step in wire.receive(frame)]
    steps, last_frames = zip(*ends, strict=True)
    return Stream(frames, steps, last_frames)


def renumbered(frame: bytes) -> bytes:
    at = PREFIX + 4
    seq = int.from_bytes(frame[at : at + 8], "little") + FIRST_SEQ
    return frame[:at] + seq.to_bytes(8, "little") + frame[at + 8 :]


def received(pieces: Sequence[bytes]) -> list[FeedStep]:
    """As one connection gives them: up to the first bytes that are no frame."""
    wire, steps = ControlWire(), []
    try:
        for piece in pieces:
            for step in wire.receive(piece):
                steps.append(step)
    except BadFrame:
        pass
    return steps


@st.composite
def damages(draw: st.DrawFn, count: int) -> tuple[list[int | bytes], int]:
    """The places of the frames in the new order, with golden frames between them; and the last place concerned."""
    order: list[int | bytes] = list(range(count))
    last = 0
    for _ in range(draw(st.integers(1, 3))):
        first, end = sorted(draw(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))
        touched = [place for place in order[first : end + 1] if isinstance(place, int)]
        match draw(st.sampled_from(["lose", "double", "swap", "insert"])):
            case "lose":
                end = first + draw(st.integers(1, 5))
                touched = [place + 1 for place in order[first:end] if isinstance(place, int)]
                del order[first:end]
            case "double":
                order[first:first] = order[first : end + 1]
            case "swap" if end < len(order):
                order[first], order[end] = order[end], order[first]
            case _:
                order.insert(first, draw(st.sampled_from(GOLDEN)))
        last = max([last, first, end, *touched])
    return order, last


@settings(max_examples=400, deadline=None)
@given(SEEDS, st.data())
def test_whole_frames_lost_doubled_moved_or_put_in_between_cost_steps_and_change_none(
    seed: int, data: st.DataObject
) -> None:
    sent = stream(seed)
    order, last = data.draw(damages(len(sent.frames)))

    steps = received([frame if isinstance(frame, bytes) else sent.frames[frame] for frame in order])

    whole = [step for step in steps if not isinstance(step, StepLost)]
    assert all(step in sent.steps or step in sent.blocks for step in whole)
    if any(isinstance(frame, bytes) and not readable(frame) for frame in order):
        return
    step_hit = sum(end < last for end in sent.last_frames)
    untouched = list(sent.steps[step_hit + 1 :])
    assert whole[len(whole) - len(untouched) :] == untouched


def readable(frame: bytes) -> bool:
    try:
        Decoder().feed(frame)
    except BadFrame:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(SEEDS, st.data())
def test_mutated_bytes_give_what_the_frames_spell_or_are_refused(seed: int, data: st.DataObject) -> None:
    mutated = b"".join(stream(seed).frames)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        end = at + data.draw(st.integers(0, 40))
        match data.draw(st.sampled_from(["flip", "overwrite", "cut", "insert", "double", "truncate", "frame"])):
            case "flip":
                mutated = mutated[:at] + bytes([mutated[at] ^ 1 << data.draw(st.integers(0, 7))]) + mutated[at + 1 :]
            case "overwrite":
                mutated = mutated[:at] + data.draw(st.binary(max_size=20)) + mutated[end:]
            case "cut":
                mutated = mutated[:at] + mutated[end:]
            case "insert":
                mutated = mutated[:at] + data.draw(st.binary(max_size=20)) + mutated[at:]
            case "double":
                mutated = mutated[:end] + mutated[at:]
            case "truncate":
                mutated = mutated[:at]
            case _:
                mutated = mutated[:at] + data.draw(st.sampled_from(GOLDEN)) + mutated[at:]
        if not mutated:
            return

    assert_spelled(mutated)


@pytest.mark.parametrize("seed", [3, 5])
def test_any_one_byte_changed_gives_what_the_frames_spell_or_is_refused(seed: int) -> None:
    """Every byte of the first frame of each kind and row, among the frames around it."""
    sent, random = stream(seed), Random(seed)
    for place, frame in {kind(frame): (place, frame) for place, frame in enumerate(sent.frames)}.values():
        before, after = sent.frames[max(0, place - AROUND) : place], sent.frames[place + 1 : place + AROUND]
        for at in range(len(frame)):
            changed = frame[:at] + bytes([frame[at] ^ 1 << random.randrange(8)]) + frame[at + 1 :]

            assert_spelled(b"".join((*before, changed, *after)))


def kind(frame: bytes) -> tuple[object, ...]:
    (message,) = Decoder().feed(frame)
    match message:
        case PoolUpdate():
            return PoolUpdate, message.protocol, type(message.event), message.is_revert
        case ReorgEpilogue(update=PoolFinal(protocol=protocol)):
            return ReorgEpilogue, protocol
        case _:
            return type(message), getattr(message, "tag", None), getattr(message, "is_revert", None)


def assert_spelled(data: bytes) -> None:
    steps = received([data[at : at + 1000] for at in range(0, len(data), 1000)])
    whole = [step for step in steps if not isinstance(step, StepLost)]
    spelled = list(spelled_steps(decoded(data)))

    assert all(step in spelled for step in whole)


def decoded(data: bytes) -> list[Message]:
    """Frame by frame, up to the first bytes that are none."""
    messages: list[Message] = []
    while len(data) >= PREFIX:
        end = PREFIX + int.from_bytes(data[:PREFIX], "little")
        try:
            messages += Decoder().feed(data[:end])
        except BadFrame:
            break
        data = data[end:]
    return messages


def spelled_steps(messages: Sequence[Message]) -> Iterator[Step]:
    for at in range(len(messages)):
        found = spelled_block(messages, at, is_revert=False) or spelled_reorg(messages, at)
        if found:
            yield found[0]


def spelled_block(messages: Sequence[Message], at: int, *, is_revert: bool) -> tuple[AssembledBlock, int] | None:
    """BeginBlock, the block's updates, EndBlock with their number; and the place after it."""
    begin = messages[at] if at < len(messages) else None
    if not isinstance(begin, BeginBlock) or begin.is_revert != is_revert:
        return None
    end = next((place for place in range(at, len(messages)) if isinstance(messages[place], EndBlock)), at)
    last, updates = messages[end], messages[at + 1 : end]
    if not isinstance(last, EndBlock) or (last.block_number, last.num_updates) != (begin.block_number, len(updates)):
        return None
    if not all(isinstance(each, PoolUpdate | Skipped) and is_of(begin, each) for each in updates):
        return None
    followed = [each for each in updates if isinstance(each, PoolUpdate)]
    keys = [(each.tx_index, each.log_index) for each in followed]
    if not is_revert and keys != sorted(set(keys)):
        return None
    if not is_contiguous(messages[at : end + 1]) or not all(is_possible(each.event) for each in followed):
        return None
    by_pool: dict[PoolId, tuple[Event, ...]] = {}
    for each in followed:
        by_pool[each.pool] = (*by_pool.get(each.pool, ()), each.event)
    return AssembledBlock(begin.block_number, begin.block_timestamp, begin.base_fee_per_gas, by_pool), end + 1


def spelled_reorg(messages: Sequence[Message], at: int) -> tuple[AssembledReorg, int] | None:
    """ReorgStart, the old blocks descending, the new ones ascending, epilogues, ReorgComplete."""
    start = messages[at]
    if not isinstance(start, ReorgStart):
        return None
    old, place = spelled_blocks(messages, at + 1, is_revert=True)
    new, place = spelled_blocks(messages, place, is_revert=False)
    end = next((at for at in range(place, len(messages)) if not isinstance(messages[at], ReorgEpilogue)), len(messages))
    complete = messages[end] if end < len(messages) else None
    if not old or not isinstance(complete, ReorgComplete) or not is_contiguous(messages[at : end + 1]):
        return None
    ancestor = old[-1].number - 1
    tip = new[-1].number if new else ancestor
    holds = (
        start.old == ReorgRange(ancestor + 1, old[0].number, len(old)),
        start.new == (ReorgRange(ancestor + 1, tip, len(new)) if new else ReorgRange(None, None, 0)),
        [each.number for each in old] == list(range(old[0].number, ancestor, -1)),
        [each.number for each in new] == list(range(ancestor + 1, tip + 1)),
        all(is_epilogue_of(tip, each) for each in messages[place:end]),
        complete.final_tip_block == tip,
    )
    return (AssembledReorg(ancestor, tuple(new)), end + 1) if all(holds) else None


def spelled_blocks(messages: Sequence[Message], at: int, *, is_revert: bool) -> tuple[list[AssembledBlock], int]:
    blocks = []
    while found := spelled_block(messages, at, is_revert=is_revert):
        blocks.append(found[0])
        at = found[1]
    return blocks, at


def is_epilogue_of(tip: int, message: Message) -> bool:
    if not isinstance(message, ReorgEpilogue) or message.final_tip_block != tip:
        return False
    return not isinstance(message.update, PoolFinal) or is_possible(message.update.price)


def is_of(begin: BeginBlock, update: PoolUpdate | Skipped) -> bool:
    place = update.block_number, update.block_timestamp, update.is_revert
    return place == (begin.block_number, begin.block_timestamp, begin.is_revert)


def is_contiguous(messages: Sequence[Message]) -> bool:
    first = messages[0].stream_seq
    return [each.stream_seq for each in messages] == list(range(first, first + len(messages)))


def is_possible(record: object) -> bool:
    if isinstance(record, LiquidityChange) and record.delta in (2**127 - 1, -(2**127)):
        return False
    return all(getattr(record, field) in bounds for field, bounds in bounds_of(type(record)).items())  # type: ignore[arg-type]  # any record
