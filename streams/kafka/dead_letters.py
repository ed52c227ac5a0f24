"""Dead letters: lists the records that could not be read or applied, and sends one again."""

from typing import NamedTuple

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from settings import Settings
from streams.json_input import InvalidJson, decode_json
from streams.kafka.clients import producing
from streams.kafka.quotation import from_text
from streams.kafka.records import DeadLetter, dead_letter
from streams.kafka.topic_reader import read_all, read_range, reading_consumer
from streams.kafka.topics import topics

_letters = msgspec.json.Decoder(DeadLetter)


class StoredLetter(NamedTuple):
    """A dead letter and its position on the topic."""

    name: str
    """`partition:offset` on the topic of dead letters, the argument of `replay`."""
    timestamp_ms: int
    letter: DeadLetter


class NoSuchLetter(Exception):
    def __init__(self, name: str, chain: str) -> None:
        super().__init__(f"there is no dead letter {name!r} of {chain}; `arena dead-letters` lists them")


class NotReplayable(Exception):
    """The record of a dead letter would do harm, or is not complete."""


async def stored_letters(settings: Settings) -> list[StoredLetter]:
    """Oldest first. A record that is no dead letter is listed as one of its own."""
    records = await read_all(settings, topics(settings.chain).dead_letters)
    found = [StoredLetter(f"{each.partition}:{each.offset}", each.timestamp, _letter(each)) for each in records]
    return sorted(found, key=lambda each: each.timestamp_ms)


async def replay(settings: Settings, name: str) -> DeadLetter:
    """Sends the record to the end of the partition that it came from. Raises NoSuchLetter, NotReplayable."""
    letters = {each.name: each.letter for each in await stored_letters(settings)}
    if name not in letters:
        raise NoSuchLetter(name, settings.chain)
    letter = letters[name]
    _check_replayable(settings, name, letter)
    key, value = await _record(settings, letter)
    async with producing(settings) as kafka:
        await kafka.send_and_wait(letter.topic, key=key, value=value, partition=letter.partition)
    return letter


def _letter(record: ConsumerRecord) -> DeadLetter:
    try:
        return decode_json(_letters, record.value or b"")
    except InvalidJson as error:
        origin = record.topic, record.partition, record.offset
        return dead_letter(origin, f"not a dead letter: {error}", record.key, record.value)


def _check_replayable(settings: Settings, name: str, letter: DeadLetter) -> None:
    names = topics(settings.chain)
    if letter.topic == names.chain:
        raise NotReplayable(
            f"{name} is a record of {letter.topic} and is not sent again: later blocks are on the topic already, and "
            "the bridge stops when another process writes there. Nothing is left to do: the pools that the record "
            "concerned wait for a snapshot or have had one since; `arena pool ID` shows it"
        )
    if letter.topic not in (names.whitelist, names.wanted, names.snapshots):
        raise NotReplayable(
            f"{name} names topic {letter.topic!r}; only records of the chain's own topics are sent again"
        )
    if not 0 <= letter.partition < settings.partitions:
        raise NotReplayable(f"{name} names partition {letter.partition}, and there are {settings.partitions}")


async def _record(settings: Settings, letter: DeadLetter) -> tuple[bytes | None, bytes | None]:
    """Key and value: from the letter, or from the topic where the letter quotes only their start."""
    if letter.is_whole:
        return from_text(letter.key), from_text(letter.value)
    tp = TopicPartition(letter.topic, letter.partition)
    async with reading_consumer(settings) as consumer:
        first, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
        if first <= letter.offset < end:
            for record in await read_range(consumer, tp, letter.offset, letter.offset + 1):
                return record.key, record.value
    raise NotReplayable(
        f"the letter quotes only the start of a record of {letter.value_bytes} bytes, and the record is no longer on "
        f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"
    )
