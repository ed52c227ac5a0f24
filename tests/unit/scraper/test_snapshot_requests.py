"""The queue of pools that wait to be read."""

from protocols.types import PoolId, PoolMetadata, Token
from streams.kafka.records import SnapshotRequest
from streams.scraper.snapshot_requests import ANSWERED_S, RENEWED_S, RequestQueue

TOKEN = Token("0x" + "00" * 20)


def wish(pool: str, not_before: int = 0) -> SnapshotRequest:
    return SnapshotRequest(PoolMetadata(PoolId(pool), "v2", TOKEN, TOKEN), "listed", not_before)


def test_a_pool_is_taken_once_however_often_it_is_wished_for() -> None:
    wishes = RequestQueue()
    for _ in range(3):
        wishes.add(wish("a", 5), 0)

    assert wishes.take("v2", 10, 9, 0) == [wish("a", 5)]
    assert wishes.take("v2", 10, 9, 0) == []


def test_the_highest_not_before_wins() -> None:
    wishes = RequestQueue()
    for not_before in (5, 9, 7):
        wishes.add(wish("a", not_before), 0)

    assert wishes.take("v2", 10, 8, 0) == []
    assert wishes.take("v2", 10, 9, 0) == [wish("a", 9)]


def test_a_not_before_that_is_no_longer_asked_for_gives_way() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a", 10**9), 0)
    wishes.add(wish("a", 5), RENEWED_S)
    too_early = wishes.take("v2", 10, 9, RENEWED_S)

    wishes.add(wish("a", 5), RENEWED_S + 1)

    assert too_early == []
    assert wishes.take("v2", 10, 9, RENEWED_S + 1) == [wish("a", 5)]


def test_a_pool_that_must_wait_for_its_block_does_not_hold_up_others() -> None:
    wishes = RequestQueue()
    wishes.add(wish("late", 100), 0)
    wishes.add(wish("early", 1), 0)

    assert wishes.take("v2", 10, 50, 0) == [wish("early", 1)]


def test_the_longest_waiting_are_taken_first_and_no_more_than_asked() -> None:
    wishes = RequestQueue()
    for pool in "abc":
        wishes.add(wish(pool), 0)

    assert wishes.take("v2", 2, 1, 0) == [wish("a"), wish("b")]
    assert wishes.count("v2") == 1
    assert wishes.take("v3", 2, 1, 0) == []


def test_a_wish_that_the_batch_in_hand_serves_is_not_read_twice() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a", 5), 0)
    wishes.take("v2", 10, 9, 0)

    wishes.add(wish("a", 9), 0)
    wishes.complete(PoolId("a"), 1)

    assert wishes.take("v2", 10, 99, 1) == []


def test_a_wish_for_more_than_the_batch_in_hand_is_read_after_it() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a", 5), 0)
    wishes.take("v2", 10, 9, 0)

    wishes.add(wish("a", 10), 0)
    while_in_hand = wishes.take("v2", 10, 99, 0)
    wishes.complete(PoolId("a"), 1)

    assert while_in_hand == []
    assert wishes.take("v2", 10, 99, 1) == [wish("a", 10)]


def test_a_wish_that_crossed_its_answer_is_dropped_and_a_later_one_is_not() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a", 5), 0)
    wishes.take("v2", 10, 9, 0)
    wishes.complete(PoolId("a"), 1)

    wishes.add(wish("a", 9), 1.5)
    crossed = wishes.take("v2", 10, 9, 1.5)
    wishes.add(wish("a", 9), 1 + ANSWERED_S)

    assert crossed == []
    assert wishes.take("v2", 10, 9, 1 + ANSWERED_S) == [wish("a", 9)]


def test_a_wish_for_more_than_the_answer_is_not_dropped() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a", 5), 0)
    wishes.take("v2", 10, 9, 0)
    wishes.complete(PoolId("a"), 1)

    wishes.add(wish("a", 10), 1.5)

    assert wishes.take("v2", 10, 10, 1.5) == [wish("a", 10)]


def test_what_is_put_back_goes_behind_the_others_and_waits_its_time() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a"), 0)
    wishes.add(wish("b"), 0)
    taken = wishes.take("v2", 1, 9, 0)

    wishes.requeue(taken, 1, delay_s=4)

    assert wishes.take("v2", 10, 9, 4) == [wish("b")]
    assert wishes.take("v2", 10, 9, 5) == [wish("a")]


def test_what_is_put_back_does_not_undo_a_wish_for_more() -> None:
    wishes = RequestQueue()
    wishes.add(wish("a", 5), 0)
    taken = wishes.take("v2", 1, 9, 0)

    wishes.add(wish("a", 50), 0)
    wishes.requeue(taken, 0)

    assert wishes.take("v2", 10, 49, 0) == []
    assert wishes.take("v2", 10, 50, 0) == [wish("a", 50)]
