"""The queue of snapshot requests."""

from protocols.types import PoolId, PoolMetadata, Token
from streams.kafka.records import SnapshotRequest
from streams.scraper.snapshot_requests import ANSWERED_S, LONGEST_BACKOFF_S, RENEWED_S, RequestQueue

TOKEN = Token("0x" + "00" * 20)


def request(pool: str, not_before: int = 0) -> SnapshotRequest:
    return SnapshotRequest(PoolMetadata(PoolId(pool), "v2", TOKEN, TOKEN), "listed", not_before)


def test_a_pool_is_taken_once_however_often_it_is_requested() -> None:
    queue = RequestQueue()
    for _ in range(3):
        queue.add(request("a", 5), 0)

    assert queue.take("v2", 10, 9, 0) == [request("a", 5)]
    assert queue.take("v2", 10, 9, 0) == []


def test_the_highest_not_before_wins() -> None:
    queue = RequestQueue()
    for not_before in (5, 9, 7):
        queue.add(request("a", not_before), 0)

    assert queue.take("v2", 10, 8, 0) == []
    assert queue.take("v2", 10, 9, 0) == [request("a", 9)]


def test_a_not_before_that_is_no_longer_requested_gives_way() -> None:
    queue = RequestQueue()
    queue.add(request("a", 10**9), 0)
    queue.add(request("a", 5), RENEWED_S)
    too_early = queue.take("v2", 10, 9, RENEWED_S)

    queue.add(request("a", 5), RENEWED_S + 1)

    assert too_early == []
    assert queue.take("v2", 10, 9, RENEWED_S + 1) == [request("a", 5)]


def test_a_request_that_waits_for_its_block_does_not_delay_others() -> None:
    queue = RequestQueue()
    queue.add(request("late", 100), 0)
    queue.add(request("early", 1), 0)

    assert queue.take("v2", 10, 50, 0) == [request("early", 1)]


def test_the_oldest_requests_are_taken_first_up_to_the_limit() -> None:
    queue = RequestQueue()
    for pool in "abc":
        queue.add(request(pool), 0)

    assert queue.take("v2", 2, 1, 0) == [request("a"), request("b")]
    assert queue.count("v2") == 1
    assert queue.take("v3", 2, 1, 0) == []


def test_a_request_that_the_running_batch_serves_is_not_read_twice() -> None:
    queue = RequestQueue()
    queue.add(request("a", 5), 0)
    queue.take("v2", 10, 9, 0)

    queue.add(request("a", 9), 0)
    queue.complete(PoolId("a"), 1)

    assert queue.take("v2", 10, 99, 1) == []


def test_a_request_for_a_later_block_than_the_running_batch_is_read_after_it() -> None:
    queue = RequestQueue()
    queue.add(request("a", 5), 0)
    queue.take("v2", 10, 9, 0)

    queue.add(request("a", 10), 0)
    while_being_read = queue.take("v2", 10, 99, 0)
    queue.complete(PoolId("a"), 1)

    assert while_being_read == []
    assert queue.take("v2", 10, 99, 1) == [request("a", 10)]


def test_a_request_sent_before_the_answer_arrived_is_dropped_and_a_later_one_is_kept() -> None:
    queue = RequestQueue()
    queue.add(request("a", 5), 0)
    queue.take("v2", 10, 9, 0)
    queue.complete(PoolId("a"), 1)

    queue.add(request("a", 9), 1.5)
    under_way = queue.take("v2", 10, 9, 1.5)
    queue.add(request("a", 9), 1 + ANSWERED_S)

    assert under_way == []
    assert queue.take("v2", 10, 9, 1 + ANSWERED_S) == [request("a", 9)]


def test_a_request_for_a_later_block_than_the_answer_is_not_dropped() -> None:
    queue = RequestQueue()
    queue.add(request("a", 5), 0)
    queue.take("v2", 10, 9, 0)
    queue.complete(PoolId("a"), 1)

    queue.add(request("a", 10), 1.5)

    assert queue.take("v2", 10, 10, 1.5) == [request("a", 10)]


def test_a_requeued_pool_goes_behind_the_others_and_waits_for_its_delay() -> None:
    queue = RequestQueue()
    queue.add(request("a"), 0)
    queue.add(request("b"), 0)
    taken = queue.take("v2", 1, 9, 0)

    queue.back_off(PoolId("a"), "no answer", 3)
    queue.requeue(taken, 3)

    assert queue.take("v2", 10, 9, 4) == [request("b")]
    assert queue.take("v2", 10, 9, 5) == [request("a")]


def test_requeueing_does_not_undo_a_request_for_a_later_block() -> None:
    queue = RequestQueue()
    queue.add(request("a", 5), 0)
    taken = queue.take("v2", 1, 9, 0)

    queue.add(request("a", 50), 0)
    queue.requeue(taken, 0)

    assert queue.take("v2", 10, 49, 0) == []
    assert queue.take("v2", 10, 50, 0) == [request("a", 50)]


def test_a_pool_that_cannot_be_read_is_tried_less_and_less_often_with_one_warning() -> None:
    queue = RequestQueue()
    tries, warnings = [], 0
    for now_s in range(0, 3600, 5):
        queue.add(request("a"), now_s)
        if queue.take("v2", 10, 9, now_s):
            queue.complete(PoolId("a"), now_s)
            warnings += queue.back_off(PoolId("a"), "no code", now_s)
            tries.append(now_s)

    assert warnings == 1
    assert len(tries) < 22
    assert tries[-1] - tries[-2] >= LONGEST_BACKOFF_S


def test_a_pool_that_can_be_read_again_is_served_at_once() -> None:
    queue = RequestQueue()
    for _ in range(9):
        queue.back_off(PoolId("a"), "no code", 0)
    queue.reset_backoff(PoolId("a"))

    queue.add(request("a"), 10)

    assert queue.take("v2", 10, 9, 10) == [request("a")]


def test_a_backoff_delays_no_other_pool() -> None:
    queue = RequestQueue()
    queue.back_off(PoolId("a"), "no code", 0)
    queue.add(request("a"), 1)
    queue.add(request("b"), 1)

    assert queue.take("v2", 10, 9, 1) == [request("b")]
