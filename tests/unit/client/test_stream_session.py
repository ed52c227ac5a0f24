"""What the client makes of the stream's lines: events, checks, and when it connects again and how."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from pool_state_arena_client.errors import BrokenChain, NotInStep, NotNow, Refused, StreamClosed, Unreachable
from pool_state_arena_client.records import BlockId, Pool, Reserves, Tick
from pool_state_arena_client.stream.events import BlockApplied, Event, Reorganised, Snapshot, StreamStatus
from pool_state_arena_client.stream.mirror_state import MirrorState
from pool_state_arena_client.stream.session import StreamSession

POOL = "0x" + "11" * 20
OTHER = "0x" + "22" * 20


def block(number: int, fork: str = "a") -> dict[str, object]:
    parent = "a" if fork == "a" or number == 3 else fork
    return {
        "number": number,
        "hash": f"0x{fork}{number}",
        "parent_hash": f"0x{parent}{number - 1}",
        "timestamp": number,
    }


def pool(pool_id: str, reserve: int, **fields: object) -> dict[str, object]:
    token = {"address": "0x" + "00" * 20, "decimals": 18}
    state = {"reserve0": str(reserve), "reserve1": "1"}
    return {
        "id": pool_id,
        "protocol": "v2",
        "status": "live",
        "token0": token,
        "token1": token,
        "state": state,
        "price": {"token1_per_token0": None, "token0_per_token1": None},
        **fields,
    }


def lines(kind: str, at: dict[str, object], **fields: object) -> Iterable[str]:
    data = {"chain": "test", "chain_id": 1, "block": at, "age_s": 0.5, "finalized": None, **fields}
    return [f"event: {kind}", f"id: {at['number']}-{at['hash']}", f"data: {json.dumps(data)}", ""]


def events(session: StreamSession, *texts: Iterable[str]) -> list[Event]:
    return [event for text in texts for line in text if (event := session.line(line))]


SNAPSHOT = lines("snapshot", block(1), pools=[pool(POOL, 1), pool(OTHER, 1)])
BLOCK_2 = lines("block", block(2), pools=[pool(POOL, 2)], removed=[])
BLOCK_3 = lines("block", block(3), pools=[pool(POOL, 3)], removed=[OTHER])


@pytest.fixture
def session() -> StreamSession:
    return StreamSession([])


def test_events_become_records_with_exact_integers(session: StreamSession) -> None:
    snapshot, changed = events(session, SNAPSHOT, lines("block", block(2), pools=[pool(POOL, 2**200)], removed=[OTHER]))

    assert isinstance(snapshot, Snapshot)
    assert isinstance(changed, BlockApplied)
    assert [each.id for each in snapshot.pools] == [POOL, OTHER]
    assert changed.pools[0].state == Reserves(2**200, 1)
    assert changed.removed == (OTHER,)


def test_comments_unknown_fields_and_unknown_events_are_no_events(session: StreamSession) -> None:
    noise = [": ping", "", "fields", "event: other", "data: {}", "", "data", "id: x\0y"]

    assert events(session, noise, [""], SNAPSHOT) != []
    assert session.headers()["Last-Event-ID"] == "1-0xa1"


def test_a_new_connection_resumes_after_the_last_event(session: StreamSession) -> None:
    events(session, SNAPSHOT, BLOCK_2, lines("status", block(2), pools={"live": 2, "waiting": 0}, lag_blocks=0))
    first_delay = session.delay_after(StreamClosed("the connection ends"))

    assert session.headers()["Last-Event-ID"] == "2-0xa2"
    assert 0 < first_delay <= 0.5
    assert events(session, BLOCK_3) != []


def test_the_last_event_of_a_closed_stream_is_no_place_to_resume_from(session: StreamSession) -> None:
    """The server names its own head there, and the blocks up to it were not sent."""
    events(session, SNAPSHOT)

    with pytest.raises(StreamClosed, match="too slow"):
        events(session, lines("closed", block(9), error="256 events wait for this reader, which is too slow"))

    assert session.headers()["Last-Event-ID"] == "1-0xa1"


def test_delays_grow_and_an_event_ends_that(session: StreamSession) -> None:
    delays = [session.delay_after(Unreachable("no answer")) for _ in range(9)]
    events(session, SNAPSHOT)

    assert max(delays) > 4
    assert max(delays) <= 15
    assert session.delay_after(NotNow(503, "not yet")) <= 0.5


@pytest.mark.parametrize(
    "broken",
    [
        lines("block", block(4), pools=[], removed=[]),
        lines("block", block(3, "b") | {"parent_hash": "0xb2"}, pools=[], removed=[]),
        lines("reorg", block(9), ancestor={"number": 9, "hash": "0xa9"}, dropped=[], pools=[]),
        lines("reorg", block(1, "b"), ancestor={"number": 1, "hash": "0xb1"}, dropped=[], pools=[]),
    ],
)
def test_an_event_that_does_not_follow_asks_for_a_snapshot(session: StreamSession, broken: Iterable[str]) -> None:
    events(session, SNAPSHOT, BLOCK_2)

    with pytest.raises(BrokenChain) as error:
        events(session, broken)
    session.delay_after(error.value)

    assert "Last-Event-ID" not in session.headers()
    with pytest.raises(BrokenChain, match="before any snapshot"):
        events(session, BLOCK_3)
    assert events(session, SNAPSHOT, BLOCK_2) != []


def test_a_pool_may_change_between_two_blocks(session: StreamSession) -> None:
    again = lines("block", block(2), pools=[pool(OTHER, 5)], removed=[])

    assert len(events(session, SNAPSHOT, BLOCK_2, again, BLOCK_3)) == 4


def test_a_reorg_goes_back_to_a_block_that_came(session: StreamSession) -> None:
    reorg = lines(
        "reorg",
        block(2),
        ancestor={"number": 2, "hash": "0xa2"},
        dropped=[{"number": 3, "hash": "0xa3"}],
        pools=[pool(POOL, 2), pool(OTHER, 1)],
    )

    found = events(session, SNAPSHOT, BLOCK_2, BLOCK_3, reorg, lines("block", block(3, "b"), pools=[], removed=[]))

    assert isinstance(found[3], Reorganised)
    assert (found[3].ancestor, found[3].dropped) == (BlockId(2, "0xa2"), (BlockId(3, "0xa3"),))


def test_a_refusal_that_stays_ends_the_stream(session: StreamSession) -> None:
    with pytest.raises(Refused, match="token"):
        session.delay_after(Refused(401, "this worker asks for a token"))


def test_what_is_no_event_of_the_arena_is_refused(session: StreamSession) -> None:
    with pytest.raises(Unreachable):
        events(session, ["event: snapshot", "data: []", ""])


def folded(*texts: Iterable[str]) -> MirrorState:
    session, mirror = StreamSession([]), MirrorState()
    for event in events(session, *texts):
        mirror.apply(event)
    return mirror


def test_a_mirror_is_what_the_events_add_up_to() -> None:
    mirror = folded(SNAPSHOT, BLOCK_2, BLOCK_3)

    assert mirror.block.number == 3
    assert {each: state_of(mirror[each]) for each in mirror} == {POOL: 3}
    assert POOL.upper().replace("0X", "0x") in mirror


def test_a_snapshot_replaces_the_whole_mirror() -> None:
    mirror = folded(SNAPSHOT, BLOCK_2, lines("snapshot", block(7), pools=[pool(OTHER, 9)]))

    assert (mirror.block.number, list(mirror), state_of(mirror[OTHER])) == (7, [OTHER], 9)


def test_a_mirror_says_where_it_does_not_follow() -> None:
    mirror = MirrorState()
    with pytest.raises(NotInStep, match="no snapshot"):
        mirror[POOL]
    mirror = folded(SNAPSHOT)
    mirror.lose_step("the connection ends")
    for read in (lambda: mirror[POOL], lambda: len(mirror), lambda: list(mirror), lambda: mirror.block):
        with pytest.raises(NotInStep, match="the connection ends"):
            read()
    assert not mirror.is_in_step


def test_changed_ticks_are_merged_and_those_without_liquidity_go() -> None:
    first = [tick(-10, 5), tick(10, 5)]
    changed = [tick(10, 0), tick(20, 5)]
    mirror = folded(
        lines("snapshot", block(1), pools=[pool(POOL, 1, ticks=first)]),
        lines("block", block(2), pools=[pool(POOL, 2, ticks=changed)]),
    )

    assert mirror[POOL].ticks == (Tick(-10, 5, 5), Tick(20, 5, 5))


def test_a_pool_that_waited_begins_anew() -> None:
    waiting = pool(POOL, 0, status="waiting", state=None, ticks=None, reason={"kind": "gap", "detail": ""})
    mirror = folded(
        lines("snapshot", block(1), pools=[pool(POOL, 1, ticks=[tick(-10, 5)])]),
        lines("block", block(2), pools=[waiting]),
        lines("block", block(3), pools=[pool(POOL, 3, ticks=[tick(30, 1)])]),
    )

    assert mirror[POOL].ticks == (Tick(30, 1, 1),)


def test_a_status_changes_nothing_in_a_mirror() -> None:
    status = lines("status", block(1), pools={"live": 2, "waiting": 0}, lag_blocks=0)
    (event,) = events(StreamSession([]), status)
    mirror = folded(SNAPSHOT)

    mirror.apply(event)

    assert isinstance(event, StreamStatus)
    assert len(mirror) == 2


def tick(index: int, liquidity: int) -> dict[str, object]:
    return {"tick": index, "liquidity_gross": str(liquidity), "liquidity_net": str(liquidity)}


def state_of(pool: Pool) -> Any:
    assert isinstance(pool.state, Reserves)
    return pool.state.reserve0
