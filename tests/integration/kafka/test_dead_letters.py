import pytest

from protocols.types import Block, PoolId
from settings import Settings
from streams.kafka.clients import producer
from streams.kafka.dead_letters import NoSuchLetter, replay, stored_letters
from streams.kafka.records import DeadLetter, Unreadable, encode_record, to_text
from streams.kafka.topic_reader import read_all
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import partition_of, topics

pytestmark = pytest.mark.servers

POOL = PoolId("0x" + "ab" * 20)


@pytest.fixture
async def settings(kafka: str, chain_name: str) -> Settings:
    made = Settings(kafka=kafka, chain=chain_name, partitions=2)
    await ensure_topics(made)
    return made


async def test_a_replayed_letter_is_the_record_that_could_not_be_read(settings: Settings) -> None:
    names = topics(settings.chain)
    record = encode_record(Unreadable(POOL, Block(1, "0x01"), "nothing there"))
    home = partition_of(POOL.encode(), settings.partitions)
    letter = DeadLetter(names.snapshots, home, 7, "a bug of ours", to_text(POOL.encode()), to_text(record))
    async with producer(settings) as kafka:
        await kafka.send_and_wait(names.dead_letters, key=POOL.encode(), value=encode_record(letter))

    (found,) = await stored_letters(settings)
    await replay(settings, found.name)

    (sent,) = await read_all(settings, names.snapshots)
    assert found.letter == letter
    assert (sent.partition, sent.key, sent.value) == (home, POOL.encode(), record)


async def test_a_letter_that_does_not_exist_is_not_replayed(settings: Settings) -> None:
    with pytest.raises(NoSuchLetter, match="there is no dead letter '1:9'"):
        await replay(settings, "1:9")
