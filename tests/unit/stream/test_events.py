"""The bytes of the stream's events, as a reader takes them."""

import json

from pool_state_arena_client.stream.sse import EventParser

from streams.kafka.records import Header
from tables.views.envelope import ServedChain
from web.stream.events import EnvelopeFacts, PoolsAt, closed_event, snapshot_event
from web.stream.filters import Filter

FACTS = EnvelopeFacts(ServedChain("test"), 1, None)
SENT, NEWEST = Header(5, "0x" + "55" * 32, "0x" + "44" * 32, 5), Header(9, "0x" + "99" * 32, "0x" + "88" * 32, 9)


def test_the_last_event_of_a_slow_reader_is_no_place_to_resume_from() -> None:
    """What was queued between the event that it took last and the head is dropped."""
    parser = EventParser()
    sent = snapshot_event(FACTS, PoolsAt(SENT, []), Filter(), {})

    taken = [
        event
        for line in (sent + closed_event(FACTS, NEWEST, "too slow")).decode().split("\n")
        if (event := parser.line(line))
    ]

    assert [event.kind for event in taken] == ["snapshot", "closed"]
    assert {event.id for event in taken} == {f"5-{SENT.hash}"}
    assert json.loads(taken[1].data)["error"] == "too slow"
