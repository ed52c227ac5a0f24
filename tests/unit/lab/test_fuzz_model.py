"""The fuzzer's chain says everything that the wire, the topics and the DEXes can say."""

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import get_args

import msgspec
import pytest

from lab.fuzz.chain_model import World
from lab.fuzz.messages import random_request
from lab.fuzz.records import topics_of
from lab.fuzz.seed_wire import seed_frames
from lab.fuzz.world import control_frames, random_world
from protocols.registry import DEXES
from protocols.types import Event
from streams.bridge.feed_reader import ControlWire, StepLost
from streams.exex import control_messages, seed
from streams.exex.control import PREFIX, Decoder
from streams.exex.control_layouts import (
    FINALS,
    OTHER_DEX_PROTOCOLS,
    OTHER_DEX_UPDATES,
    SLOT0_FINAL_OF_ANY,
    UPDATE_OF_ADDRESS,
    UPDATE_OF_POOL_ID,
    UPDATE_TYPES,
    UPDATES,
)
from streams.exex.control_messages import Message, PoolFinal, PoolUpdate, ReorgEpilogue, Skipped, SkippedFinal
from streams.kafka import records
from streams.kafka.records import Update

WORLDS = 60
WRITTEN_ONLY = {records.DeadLetter}
"""No process of ours folds it into a state."""


@cache
def worlds() -> tuple[World, ...]:
    return tuple(random_world(Random(seed_)) for seed_ in range(WORLDS))


@cache
def faulty_worlds() -> tuple[World, ...]:
    return tuple(random_world(Random(seed_), faults=True) for seed_ in range(WORLDS))


@cache
def frames() -> tuple[bytes, ...]:
    return tuple(frame for world in worlds() for frame in control_frames(world))


@cache
def messages() -> tuple[Message, ...]:
    return tuple(message for frame in frames() for message in Decoder().feed(frame))


@cache
def topics() -> tuple[records.Record, ...]:
    return tuple(decoded())


def decoded() -> Iterator[records.Record]:
    for seed_, world in enumerate((*worlds(), *faulty_worlds())):
        raw = topics_of(world)
        yield from (records.decode_listed(each.value) for each in raw["whitelist"] if each.value)
        yield from (records.decode_chain(each.value) for each in raw["chain"] if each.value)
        yield from (records.decode_snapshot(each.value) for each in raw["snapshots"] if each.value)
        yield random_request(Random(seed_))


def events() -> Iterator[Event]:
    return (event for record in topics() if isinstance(record, Update) for event in record.events)


def test_every_event_of_every_dex_happens() -> None:
    assert {type(event) for event in events()} == {event for dex in DEXES for event in dex.model.events}


def test_every_log_of_every_dex_that_changes_state_has_its_event() -> None:
    happened = {
        (world.tip.pools[pool].pool.protocol, type(event))
        for world in worlds()
        for node in world.nodes.values()
        for pool, of_pool in node.events.items()
        for event in of_pool
    }
    decoded = {(dex.name, dex.logs[log].__annotations__["return"]) for dex in DEXES for log in dex.logs}

    assert happened == decoded


def test_every_record_that_a_process_reads_occurs() -> None:
    assert {type(record) for record in topics()} == set(get_args(records.Record)) - WRITTEN_ONLY


def test_every_optional_field_of_a_record_is_set_and_is_not() -> None:
    optional = {
        (record, field.name)
        for record in get_args(records.Record)
        if record not in WRITTEN_ONLY
        for field in msgspec.structs.fields(record)
        if field.default is not msgspec.NODEFAULT
    }
    seen = {
        (type(record), field.name, getattr(record, field.name) == field.default)
        for record in topics()
        for field in msgspec.structs.fields(type(record))
        if (type(record), field.name) in optional
    }

    assert seen == {(*each, is_default) for each in optional for is_default in (True, False)}


def test_every_state_that_a_snapshot_carries_occurs() -> None:
    states = {type(each.state) for each in topics() if isinstance(each, records.Snapshot)}

    assert states == {dex.state for dex in DEXES}


def test_every_message_of_the_control_wire_is_sent() -> None:
    assert {type(message) for message in messages()} == set(get_args(control_messages.Message))


def test_every_row_of_every_dex_is_sent_in_both_directions() -> None:
    sent = {(each.protocol, type(each.event), each.is_revert) for each in messages() if isinstance(each, PoolUpdate)}
    rows = {(row.protocol, row.record, is_revert) for row in UPDATES.values() for is_revert in (True, False)}

    assert sent == rows


def test_every_type_of_update_is_sent() -> None:
    assert {each.update_type for each in messages() if isinstance(each, PoolUpdate)} == set(UPDATE_TYPES)


def test_every_final_state_is_sent() -> None:
    finals = [each.update for each in messages() if isinstance(each, ReorgEpilogue)]

    assert {each.protocol for each in finals if isinstance(each, PoolFinal)} == {row.protocol for _, row in FINALS}
    assert {each.tag for each in finals if isinstance(each, SkippedFinal)} == {0, 1}


def test_every_protocol_and_tag_that_is_not_followed_is_sent_in_both_directions() -> None:
    skipped = [each for each in messages() if isinstance(each, Skipped)]

    assert {(each.tag, each.is_revert) for each in skipped} == {
        (tag, is_revert) for tag in OTHER_DEX_UPDATES for is_revert in (True, False)
    }
    assert {protocol for frame in frames() for protocol in other_protocols(frame)} == set(OTHER_DEX_PROTOCOLS)


def other_protocols(frame: bytes) -> Iterator[int]:
    (message,) = Decoder().feed(frame)
    if not isinstance(message, Skipped):
        return
    layout = (UPDATE_OF_ADDRESS, UPDATE_OF_POOL_ID)[frame[PREFIX + 12]]
    yield layout.read(frame[PREFIX : PREFIX + layout.size], 0)[2]


def test_the_finals_of_every_protocol_that_is_not_followed_are_sent() -> None:
    protocols = set()
    for frame in frames():
        (message,) = Decoder().feed(frame)
        if isinstance(message, ReorgEpilogue) and message.update == SkippedFinal(0):
            protocols.add(SLOT0_FINAL_OF_ANY[frame[PREFIX + 32]].read(frame[PREFIX:], 0)[4])

    assert protocols == set(OTHER_DEX_PROTOCOLS)


@pytest.mark.parametrize("seed_", range(WORLDS))
def test_a_stream_that_nobody_mutated_violates_nothing(seed_: int) -> None:
    wire = ControlWire()

    steps = [step for frame in control_frames(worlds()[seed_]) for step in wire.receive(frame)]

    assert steps
    assert not [step for step in steps if isinstance(step, StepLost)]


def test_every_message_of_the_seed_wire_is_sent_in_every_spelling() -> None:
    sent = {type(message) for world in worlds() for message in seed.Decoder().feed(b"".join(seed_frames(world)))}

    assert sent == set(get_args(seed.SeedMessage))
