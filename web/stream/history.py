"""What topic `updates` has of a partition's last blocks, so that a stream that begins can be resumed from before it."""

from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.kafka.topic_reader import read_range
from streams.updates import BlockClosed, ReorgClosed, UpdatesRecord, decode_updates_record

RECORDS_AT_ONCE = 1000


class History(NamedTuple):
    records: list[UpdatesRecord]
    """The last ones of the partition, ascending."""
    end: int
    """The offset of the record after them."""

    def oldest(self) -> int | None:
        """The number of the oldest block whose later records are all there."""
        numbers = [number for record in self.records if (number := _closed_number(record)) is not None]
        return min(numbers, default=None)

    def after(self, block_hash: str) -> list[UpdatesRecord] | None:
        """The records since the partition was at that block, the last time; None where that is not among them."""
        for at in reversed(range(len(self.records))):
            if _closed_hash(self.records[at]) == block_hash:
                return self.records[at + 1 :]
        return None


async def read_history(consumer: AIOKafkaConsumer, tp: TopicPartition, blocks: int) -> History:
    """Of about so many blocks, or of all that the topic has. Raises Undecodable, Stalled."""
    begin, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
    read: list[ConsumerRecord] = []
    first = end
    records: list[UpdatesRecord] = []
    while first > begin and _closings(records) <= blocks:
        start = max(begin, first - max(RECORDS_AT_ONCE, len(read)))
        read = [*await read_range(consumer, tp, start, first), *read]
        records, first = [decode_updates_record(each.value or b"") for each in read], start
    return History(records, end)


def _closings(records: list[UpdatesRecord]) -> int:
    return sum(isinstance(record, BlockClosed) for record in records)


def _closed_number(record: UpdatesRecord) -> int | None:
    match record:
        case BlockClosed(block=head) if head is not None:
            return head.number
        case ReorgClosed(ancestor=head):
            return head.number
    return None


def _closed_hash(record: UpdatesRecord) -> str | None:
    match record:
        case BlockClosed(block=head) if head is not None:
            return head.hash
        case ReorgClosed(ancestor=head):
            return head.hash
    return None
