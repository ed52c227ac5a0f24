import pytest

from protocols.types import Block, PoolId
from settings import Settings
from streams.kafka.clients import producer
from streams.kafka.dead_letters import NoSuchLetter, NotReplayable, replay, stored_letters
from streams.kafka.quotation import to_text
from streams.kafka.records import DeadLetter, Gap, Unreadable, dead_letter, encode_record
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


async def send(settings: Settings, topic: str, *values: bytes) -> list[int]:
    """To the partition of POOL; returns the offsets."""
    home = partition_of(POOL.encode(), settings.partitions)
    async with producer(settings) as kafka:
        sent = [await kafka.send_and_wait(topic, value, key=POOL.encode(), partition=home) for value in values]
    return [each.offset for each in sent]


async def test_a_replayed_letter_is_the_record_that_could_not_be_read(settings: Settings) -> None:
    names = topics(settings.chain)
    record = encode_record(Unreadable(POOL, Block(1, "0x01"), "nothing there"))
    home = partition_of(POOL.encode(), settings.partitions)
    letter = DeadLetter(names.snapshots, home, 7, "a bug of ours", to_text(POOL.encode()), to_text(record))
    await send(settings, names.dead_letters, encode_record(letter))

    (found,) = await stored_letters(settings)
    await replay(settings, found.name)

    (sent,) = await read_all(settings, names.snapshots)
    assert found.letter == letter
    assert (sent.partition, sent.key, sent.value) == (home, POOL.encode(), record)


async def test_a_letter_that_does_not_exist_is_not_replayed(settings: Settings) -> None:
    with pytest.raises(NoSuchLetter, match="there is no dead letter '1:9'"):
        await replay(settings, "1:9")


async def test_a_record_of_20_mb_is_replayed_from_its_topic(settings: Settings) -> None:
    names = topics(settings.chain)
    home = partition_of(POOL.encode(), settings.partitions)
    value = b"x" * 20_000_000
    (offset,) = await send(settings, names.snapshots, value)
    letter = dead_letter((names.snapshots, home, offset), "no JSON", POOL.encode(), value)
    await send(settings, names.dead_letters, encode_record(letter))

    (found,) = await stored_letters(settings)
    await replay(settings, found.name)

    assert [each.value == value for each in await read_all(settings, names.snapshots)] == [True, True]


async def test_a_long_record_that_is_gone_from_its_topic_is_not_replayed(settings: Settings) -> None:
    names = topics(settings.chain)
    letter = dead_letter((names.snapshots, 0, 7), "no JSON", POOL.encode(), b"x" * 20_000_000)
    await send(settings, names.dead_letters, encode_record(letter))

    (found,) = await stored_letters(settings)
    with pytest.raises(NotReplayable, match="only the start of a record of 20000000 bytes"):
        await replay(settings, found.name)

    assert await read_all(settings, names.snapshots) == []


async def test_a_record_of_the_topic_chain_is_not_replayed(settings: Settings) -> None:
    names = topics(settings.chain)
    letter = dead_letter((names.chain, 0, 7), "a lie", None, encode_record(Gap(1, 2, "lost")))
    await send(settings, names.dead_letters, encode_record(letter))

    (found,) = await stored_letters(settings)
    with pytest.raises(NotReplayable, match=r"is not sent again: later blocks are on the topic.*Nothing is left to do"):
        await replay(settings, found.name)

    assert await read_all(settings, names.chain) == []


@pytest.mark.parametrize(
    ("topic", "partition"), [("another.snapshots", 0), ("{chain}.dead-letters", 0), ("{chain}.wanted", 2)]
)
async def test_a_letter_that_names_another_place_is_not_replayed(
    settings: Settings, topic: str, partition: int
) -> None:
    letter = dead_letter((topic.format(chain=settings.chain), partition, 7), "wrong", None, b"{}")
    await send(settings, topics(settings.chain).dead_letters, encode_record(letter))

    (found,) = await stored_letters(settings)
    with pytest.raises(NotReplayable):
        await replay(settings, found.name)


async def test_foreign_records_are_listed_and_hide_no_letter(settings: Settings) -> None:
    names = topics(settings.chain)
    letter = dead_letter((names.wanted, 0, 7), "wrong", None, b"{}")
    foreign = [b"hello", b"", b"\xff", b"[" * 100_000, encode_record(Gap(1, 2, "")), b'{"type":"dead_letter"}']
    await send(settings, names.dead_letters, *foreign, encode_record(letter))

    *others, last = await stored_letters(settings)

    assert last.letter == letter
    assert [other.letter.offset for other in others] == [0, 1, 2, 3, 4, 5]
    assert all(other.letter.error.startswith("not a dead letter: ") for other in others)
    with pytest.raises(NotReplayable):
        await replay(settings, others[0].name)
