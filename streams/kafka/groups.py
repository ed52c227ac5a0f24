"""Task lifecycle: run until the first task exits, cancel and await the rest, leave a consumer group."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer

CANCEL_AGAIN_S = 1.0
LEAVE_TIMEOUT_S = 5.0


async def run_until_first_exit(*parts: Coroutine[Any, Any, None]) -> None:
    """Until one of them returns or fails; its failure is raised after the others have been cancelled."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_and_wait(*tasks)


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels again until all have ended: in Python 3.11 a library's `wait_for` can lose a cancellation."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, else asyncio logs that it never was


async def raise_group_failure(consumer: AIOKafkaConsumer) -> None:
    """Raises the KafkaError that ended one of aiokafka's own tasks; runs as long as the consumer.

    aiokafka itself leaves its callers waiting for records or an assignment, for example when all brokers are fenced.
    """
    tasks = consumer._coordinator._coordination_task, consumer._fetcher._fetch_task  # no public way to them
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
    await asyncio.Event().wait()


async def leave_group(consumer: AIOKafkaConsumer) -> None:
    """Stops the consumer, so that its partitions are assigned to others at once; gives up where Kafka is gone."""
    leaving = asyncio.create_task(consumer.stop())
    await asyncio.wait([leaving], timeout=LEAVE_TIMEOUT_S)
    if not leaving.done():
        leaving.cancel()
        await consumer._client.close()  # no public way to end a stop() that Kafka does not answer
