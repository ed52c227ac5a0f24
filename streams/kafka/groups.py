"""How what runs for ever comes to its end, whatever the libraries below it are doing at that moment."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer

PATIENCE_S = 1.0
FAREWELL_S = 5.0


async def run_until_first_exit(*parts: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends or fails; its failure is raised, and the others have ended by then."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_and_wait(*tasks)


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels them until they have ended: in Python 3.11 a library's `wait_for` can lose a cancellation."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=PATIENCE_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain of it


async def raise_group_failure(consumer: AIOKafkaConsumer) -> None:
    """Of a started member of a group, for ever: raises the KafkaError that ended one of aiokafka's own tasks.

    It tells nobody who waits for records, or to be assigned some. Brokers that are all fenced are one way to get there.
    """
    tasks = consumer._coordinator._coordination_task, consumer._fetcher._fetch_task  # no public way to them
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
    await asyncio.Event().wait()


async def leave_group(consumer: AIOKafkaConsumer) -> None:
    """Says so to the group, so that others take over at once; where Kafka is gone it learns by missing heartbeats."""
    leaving = asyncio.create_task(consumer.stop())
    await asyncio.wait([leaving], timeout=FAREWELL_S)
    if not leaving.done():
        leaving.cancel()
        await consumer._client.close()  # no public way out of a farewell that nobody hears
