import asyncio

import pytest

from streams.kafka import groups
from streams.kafka.groups import cancel_and_wait, run_until_first_exit


@pytest.fixture(autouse=True)
def _cancelled_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "CANCEL_AGAIN_S", 0.05)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def deaf(times: int) -> None:
    """Loses so many cancellations, as `asyncio.wait_for` of Python 3.11 does with one that meets an answer."""
    while True:
        try:
            await for_ever()
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


async def fail() -> None:
    raise ConnectionError("gone")


async def test_the_first_failure_ends_all_and_is_raised_itself() -> None:
    with pytest.raises(ConnectionError, match="gone"):
        async with asyncio.timeout(60):
            await run_until_first_exit(for_ever(), fail(), deaf(1))

    assert len(asyncio.all_tasks()) == 1


async def test_a_lost_cancellation_does_not_keep_the_group_alive() -> None:
    whole = asyncio.create_task(run_until_first_exit(for_ever(), deaf(2)))
    await asyncio.sleep(0)
    whole.cancel()

    async with asyncio.timeout(60):
        await asyncio.wait([whole])

    assert whole.cancelled()
    assert len(asyncio.all_tasks()) == 1


async def test_a_task_that_failed_already_is_awaited_without_an_error() -> None:
    task = asyncio.create_task(fail())
    await asyncio.wait([task])

    async with asyncio.timeout(60):
        await cancel_and_wait(task)

    assert isinstance(task.exception(), ConnectionError)
