import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest
import stamina

from streams.retry import Backoff, Retries


@pytest.fixture
def no_delays() -> Iterator[None]:
    with stamina.set_testing(True, attempts=50):
        yield


class ServerBusy(Exception):
    retry_after_s = 7.0


def test_delays_double_up_to_the_longest_and_are_shortened_by_half_at_most() -> None:
    backoff = Backoff(1.0, 5.0)

    delays = [backoff.next_s() for _ in range(5)]

    for delay, longest in zip(delays, (1, 2, 4, 5, 5), strict=True):
        assert longest / 2 <= delay <= longest
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_two_clients_do_not_retry_at_the_same_time() -> None:
    first, second = Backoff(), Backoff()

    assert [first.next_s() for _ in range(4)] != [second.next_s() for _ in range(4)]


async def test_it_is_tried_until_it_works(no_delays: None) -> None:
    tries = 0
    async for attempt in Retries("the server", on=OSError):
        with attempt:
            tries += 1
            if tries < 20:
                raise ConnectionError("refused")

    assert tries == 20


async def test_other_errors_pass_through_at_once(no_delays: None) -> None:
    tries = 0
    with pytest.raises(ValueError, match="our bug"):
        async for attempt in Retries("the server", on=OSError):
            with attempt:
                tries += 1
                raise ValueError("our bug")

    assert tries == 1


async def test_the_last_of_a_limited_number_of_attempts_raises(no_delays: None) -> None:
    tries = 0
    with stamina.set_testing(True, attempts=50, cap=True), pytest.raises(OSError, match="no 3"):
        async for attempt in Retries("the server", on=lambda error: "no" in str(error), attempts=3):
            with attempt:
                tries += 1
                raise OSError(f"no {tries}")


async def test_a_cause_is_a_warning_once_and_recovery_is_logged(
    no_delays: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    causes = iter(["refused", "refused", "reset by peer", "reset by peer"])
    retries = Retries("the server", on=OSError, wait_initial_s=2.0, wait_max_s=30.0)

    async for attempt in retries:
        with attempt:
            if cause := next(causes, None):
                raise OSError(cause)
            retries.reset()

    messages = [record.message for record in caplog.records]
    assert [message.split(";")[0] for message in messages] == [
        "the server: refused",
        "the server: reset by peer",
        "the server works again",
    ]
    assert "trying again in" in messages[0] and messages[0].endswith("later every 30 s at most")


async def test_a_cause_in_which_only_numbers_differ_is_a_warning_once(
    no_delays: None, caplog: pytest.LogCaptureFixture
) -> None:
    causes = iter(f"block {n} 0x{n:064x} is not there, request {n:08x}" for n in range(7, 20))
    async for attempt in Retries("the server", on=OSError):
        with attempt:
            if cause := next(causes, None):
                raise OSError(cause)

    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert "block 7 " in caplog.text


async def test_failures_of_a_short_time_are_quiet(no_delays: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    started_s = time.monotonic()
    retries = Retries("the server", on=OSError, quiet_s=0.05)

    async for attempt in retries:
        with attempt:
            await asyncio.sleep(0.005)
            if time.monotonic() - started_s < 0.04:
                raise OSError("refused")
            retries.reset()
            assert caplog.records == []
            if time.monotonic() - started_s < 0.2:
                raise OSError("closed")

    assert caplog.records == []


async def test_after_a_connection_that_worked_the_delays_start_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "streams.retry")
    tries = 0
    retries = Retries("the server", on=OSError, wait_initial_s=0.001, wait_max_s=10.0)

    async for attempt in retries:
        with attempt:
            tries += 1
            retries.reset()
            if tries < 12:
                raise OSError("closed")

    assert tries == 12
    assert all("in 0.0 s" in record.message for record in caplog.records if "trying" in record.message)


async def test_the_delay_that_an_error_asks_for_is_obeyed(no_delays: None, caplog: pytest.LogCaptureFixture) -> None:
    tries = 0
    async for attempt in Retries("the server", on=ServerBusy):
        with attempt:
            tries += 1
            if tries == 1:
                raise ServerBusy("busy")

    assert "busy; trying again in 7.0 s" in caplog.text


@pytest.mark.parametrize("delay_s", [0.0, 60.0])
async def test_a_loop_that_runs_for_ever_is_cancelled_in_the_attempt_and_in_the_delay(delay_s: float) -> None:
    started = asyncio.Event()

    async def connect() -> None:
        async for attempt in Retries("the server", on=OSError, wait_initial_s=delay_s):
            with attempt:
                started.set()
                if delay_s:
                    raise OSError("refused")
                await asyncio.sleep(60)

    task = asyncio.create_task(connect())
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)


async def test_an_async_generator_that_retries_can_be_closed_in_the_middle() -> None:
    closed = False

    async def messages() -> AsyncGenerator[int, None]:
        nonlocal closed
        async for attempt in Retries("the server", on=OSError):
            with attempt:
                try:
                    for number in range(100):
                        yield number
                finally:
                    closed = True

    async with aclosing(messages()) as stream:
        async for number in stream:
            if number == 3:
                break

    assert closed
