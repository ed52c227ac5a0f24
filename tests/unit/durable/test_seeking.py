"""Which chunks are from after the last seek, and when going back is given up."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP

from tables.durable.chunks import Fetched
from tables.durable.seeking import TRIES, MissingRecords, Seeking
from tests.support.kafka_records import record

HERE, ELSEWHERE = TP("source", 0), TP("source", 1)


class Consumer:
    def __init__(self) -> None:
        self.seeks: list[dict[TP, int]] = []

    async def seek(self, offsets: Mapping[TP, int]) -> None:
        self.seeks.append(dict(offsets))


def chunk(seeking: Seeking, *offsets: int) -> Fetched:
    return next(seeking.chunks(HERE, [at(offset) for offset in offsets]))


def at(offset: int) -> ConsumerRecord:
    return record(HERE.topic, offset, b"v")


async def test_a_chunk_from_before_a_seek_is_not_the_latest() -> None:
    seeking = Seeking(Consumer().seek)
    before = chunk(seeking, 5)
    await seeking.to({HERE: 3})
    after = chunk(seeking, 3)

    assert (seeking.is_latest(before), seeking.is_latest(after)) == (False, True)


async def test_a_seek_of_another_partition_leaves_a_chunk_the_latest() -> None:
    seeking = Seeking(Consumer().seek)
    await seeking.to({HERE: 3})
    before = chunk(seeking, 3)
    await seeking.to({ELSEWHERE: 0})
    after = chunk(seeking, 4)

    assert (seeking.is_latest(before), seeking.is_latest(after)) == (True, True)


async def test_a_chunk_starts_where_the_one_before_ended_or_where_was_sought() -> None:
    seeking = Seeking(Consumer().seek)

    starts = [chunk(seeking, 4, 6).start, chunk(seeking, 9).start]
    await seeking.to({HERE: 2})
    starts.append(chunk(seeking, 5).start)

    assert starts == [4, 7, 2]


async def test_a_seek_waits_for_the_fetch_under_way() -> None:
    consumer = Consumer()
    seeking = Seeking(consumer.seek)

    async with seeking.fetching:
        seek = asyncio.create_task(seeking.to({HERE: 3}))
        await asyncio.sleep(0)
        during = list(consumer.seeks)
    await seek

    assert (during, consumer.seeks) == ([], [{HERE: 3}])


async def test_going_back_is_given_up_after_some_tries_at_one_position() -> None:
    consumer = Consumer()
    seeking = Seeking(consumer.seek)
    await seeking.back(HERE, 7, 9)
    for _ in range(TRIES):
        await seeking.back(HERE, 8, 9)

    with pytest.raises(MissingRecords, match="after 5 tries the next one that Kafka gives is 9"):
        await seeking.back(HERE, 8, 9)
    assert consumer.seeks == [{HERE: 7}] + [{HERE: 8}] * TRIES
