"""What could not be read or applied: looked at, and sent once more after a fix."""

from typing import NamedTuple

import msgspec

from settings import Settings
from streams.kafka.clients import producer
from streams.kafka.records import DeadLetter, from_text
from streams.kafka.topic_reader import read_all
from streams.kafka.topics import topics


class StoredLetter(NamedTuple):
    """A dead letter where it lies."""

    name: str
    """`partition:offset` on the topic of dead letters: what `replay` is told."""
    timestamp_ms: int
    letter: DeadLetter


class NoSuchLetter(Exception):
    def __init__(self, name: str, chain: str) -> None:
        super().__init__(f"there is no dead letter {name!r} of {chain}; `arena dead-letters` lists them")


async def stored_letters(settings: Settings) -> list[StoredLetter]:
    """Oldest first."""
    found = [
        StoredLetter(
            f"{record.partition}:{record.offset}", record.timestamp, msgspec.json.decode(record.value, type=DeadLetter)
        )
        for record in await read_all(settings, topics(settings.chain).dead_letters)
    ]
    return sorted(found, key=lambda each: each.timestamp_ms)


async def replay(settings: Settings, name: str) -> DeadLetter:
    """Sends the record to the end of the partition that it came from. Raises NoSuchLetter."""
    letters = {each.name: each.letter for each in await stored_letters(settings)}
    if name not in letters:
        raise NoSuchLetter(name, settings.chain)
    letter = letters[name]
    key, value = from_text(letter.key), from_text(letter.value)
    async with producer(settings) as kafka:
        await kafka.send_and_wait(letter.topic, key=key, value=value, partition=letter.partition)
    return letter
