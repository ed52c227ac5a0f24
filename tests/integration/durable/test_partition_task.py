"""Two lanes on one changelog, as an owner and a worker that does not know yet that it is not the owner any more."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tables.durable.changelog import read_rows, stamped
from tables.durable.chunks import Chunk, Fetched, Folded, Processor, Rows
from tables.durable.database import POSITION, Database, Stamped
from tables.durable.partition_task import Gone, MissingRecords, PartitionTask, ReservedKey
from tables.durable.stamps import read_position
from tests.support.kafka_records import record

pytestmark = pytest.mark.servers

SOURCE, COMPACTED = "source", "compacted"


class Sums:
    """A processor: of each key how many records, and the offset of the last; a value `x` deletes, `big` writes 5 MB."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.told: list[tuple[object, ...]] = []

    def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded:
        written: dict[bytes, bytes | None] = {}
        sends = []
        for each in chunk.records:
            stored = written[each.key] if each.key in written else rows.get(each.key)
            count, last = map(int, stored.split(b"@")[:2]) if stored else (0, -1)
            if each.offset <= last:
                continue
            padding = b"@" + b"p" * 5_000_000 if each.value == b"big" else b""
            written[each.key] = None if each.value == b"x" else b"%d@%d%b" % (count + 1, each.offset, padding)
            if each.value == b"say":
                sends.append((self.said, each.key, b"said"))
        return Folded(written, sends)

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        self.told.append(("missing", topic, first, last))
        return Folded({b"lost": b"%d@%d" % (first, last)}, [])

    def recovered(self, partition: int, rows: Rows) -> None:
        self.told.append(("recovered", dict(rows.scan(b""))))

    def outdated(self, partition: int, keys: Collection[bytes]) -> None:
        self.told.append(("outdated", set(keys)))

    def revoked(self, partition: int) -> None:
        self.told.append(("revoked",))


class Around:
    """What a table does for its lanes, on the real broker."""

    contiguous = frozenset({SOURCE})

    def __init__(self, kafka: str, name: str, producer: AIOKafkaProducer) -> None:
        self.changelog = f"{name}.changelog"
        self.sums = Sums(f"{name}.said")
        self.processor: Processor = self.sums
        self.earliest_offset = 0
        self.seeks: list[tuple[str, int]] = []
        self.errors: list[BaseException] = []
        self.gone: list[PartitionTask] = []
        self._kafka = kafka
        self._producer = producer

    def producer(self) -> AIOKafkaProducer:
        return self._producer

    async def read_changelog(self, partition: int, first: int, end: int) -> list[Stamped]:
        return await read_rows({"bootstrap_servers": self._kafka}, self.changelog, partition, first, end)

    async def earliest(self, topic: str, partition: int) -> int:
        return self.earliest_offset

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        self.seeks.append((topic, offset))

    def drained(self) -> None:
        pass

    def superseded(self, lane: PartitionTask) -> None:
        self.gone.append(lane)

    async def crashed(self, error: BaseException) -> None:
        self.errors.append(error)


class Bench:
    """Opens lanes, and reads the changelog as a rebuild would."""

    def __init__(self, kafka: str, name: str, directory: Path, producer: AIOKafkaProducer) -> None:
        self.name = name
        self._kafka = kafka
        self.directory = directory
        self._producer = producer
        self.lanes: list[PartitionTask] = []

    def around(self) -> Around:
        return Around(self._kafka, self.name, self._producer)

    async def lane(
        self, around: Around, generation: int = 1, of: str = "db", gone: Collection[Gone] = ()
    ) -> PartitionTask:
        """Recovered from the changelog into a database of that name."""
        database = Database(self.directory / f"{of}-{len(self.lanes)}")
        rows = await self.changelog()
        merge = database.merge(rows, len(rows) - 1)
        lane = PartitionTask(0, database, around, generation)
        for topic in (SOURCE, COMPACTED):
            lane.offsets.setdefault(topic, 0)
        await lane.begin(merge.lost, gone)
        lane.start()
        self.lanes.append(lane)
        return lane

    async def changelog(self, topic: str | None = None) -> list[Stamped]:
        place = TopicPartition(topic or f"{self.name}.changelog", 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            rows: list[Stamped] = []
            while len(rows) < end:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    rows += records if topic else [stamped(each) for each in records]
        finally:
            await consumer.stop()
        return rows

    async def rebuilt(self) -> dict[bytes, bytes]:
        database = Database(self.directory / "rebuilt")
        rows = await self.changelog()
        database.merge(rows, len(rows))
        found = dict(database.scan(b""))
        database.close()
        return found


@pytest.fixture
async def bench(kafka: str, chain_name: str, tmp_path: Path) -> AsyncIterator[Bench]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    large = {"max.message.bytes": str(32 * 2**20)}
    await admin.create_topics([NewTopic(f"{chain_name}.{n}", 1, 1, topic_configs=large) for n in ("changelog", "said")])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, enable_idempotence=True, max_request_size=32 * 2**20, max_batch_size=1000
    )
    await producer.start()
    bench = Bench(kafka, chain_name, tmp_path, producer)
    yield bench
    for lane in bench.lanes:
        await lane.close(1)
    await producer.stop()


def fetched(*values: tuple[int, bytes, bytes], start: int | None = None, topic: str = SOURCE) -> Fetched:
    records = [record(topic, offset, value, key) for offset, key, value in values]
    return Fetched(Chunk(topic, 0, records), records[0].offset if start is None else start, 0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def applied(lane: PartitionTask, position: int, topic: str = SOURCE) -> None:
    await until(lambda: lane.offsets[topic] >= position)
    await until(lane._idle.is_set)


async def test_a_chunk_is_on_the_changelog_with_its_position_last(bench: Bench) -> None:
    lane = await bench.lane(bench.around())

    lane.accept(fetched((0, b"a", b"+"), (1, b"b", b"+"), (2, b"a", b"say")))
    await applied(lane, 3)

    rows = await bench.changelog()
    assert [row.key for row in rows[-3:]] == [b"a", b"b", POSITION]
    assert read_position(rows[-1].value or b"").offsets == {SOURCE: 3, COMPACTED: 0}
    assert {row.stamp for row in rows[-3:]} == {lane.stamp}
    assert lane.database.offset == len(rows) - 1
    assert [each.value for each in await bench.changelog(f"{bench.name}.said")] == [b"said"]


async def test_rows_of_many_batches_and_of_megabytes_go_out_in_order(bench: Bench) -> None:
    lane = await bench.lane(bench.around())

    lane.accept(fetched(*((n, b"k%03d" % n, b"big" if n == 50 else b"+") for n in range(100))))
    await applied(lane, 100)

    rows = await bench.changelog()
    assert [row.key for row in rows[1:]] == [b"k%03d" % n for n in range(100)] + [POSITION]
    assert lane.database.offset == 101


async def test_what_was_applied_is_not_applied_again(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)

    lane.accept(fetched((0, b"a", b"+"), (1, b"a", b"+")))
    lane.accept(fetched((0, b"a", b"+"), (1, b"a", b"+")))
    lane.accept(fetched((1, b"a", b"+"), (2, b"a", b"+")))
    await applied(lane, 3)

    assert lane.database.get(b"a") == b"3@2"


async def test_a_chunk_that_does_not_continue_is_fetched_again(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)

    lane.accept(fetched((0, b"a", b"+")))
    lane.accept(fetched((2, b"a", b"+")))
    await until(lambda: around.seeks)
    lane.accept(fetched((1, b"a", b"+"), (2, b"a", b"+")))
    await applied(lane, 3)

    assert around.seeks == [(SOURCE, 1)]
    assert lane.database.get(b"a") == b"3@2"


async def test_a_chunk_from_before_a_seek_asks_for_no_other(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)
    lane.seek = 1

    lane.accept(fetched((2, b"a", b"+")))
    lane.accept(fetched((0, b"a", b"+")))
    await applied(lane, 1)

    assert around.seeks == []
    assert lane.database.get(b"a") == b"1@0"


async def test_records_that_never_come_end_the_worker(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)

    for _ in range(6):
        lane.accept(fetched((2, b"a", b"+")))
    await until(lambda: around.errors)

    assert isinstance(around.errors[0], MissingRecords)
    assert lane.database.get(b"a") is None


async def test_a_compacted_topic_has_holes_but_no_missing_chunks(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)

    lane.accept(fetched((3, b"a", b"+"), (7, b"a", b"+"), start=0, topic=COMPACTED))
    lane.accept(fetched((20, b"a", b"+"), start=15, topic=COMPACTED))
    await until(lambda: around.seeks)
    lane.accept(fetched((9, b"a", b"+"), (20, b"a", b"+"), start=8, topic=COMPACTED))
    await applied(lane, 21, COMPACTED)

    assert around.seeks == [(COMPACTED, 8)]
    assert lane.database.get(b"a") == b"4@20"


async def test_records_that_retention_took_are_told(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around, gone=[Gone(SOURCE, 0, 5)])

    around.earliest_offset = 8
    lane.accept(fetched((8, b"a", b"+"), start=5))
    await applied(lane, 9)

    assert around.sums.told[1:] == [("missing", SOURCE, 0, 4), ("missing", SOURCE, 5, 7)]
    assert lane.database.get(b"lost") == b"5@7"
    assert lane.database.get(b"a") == b"1@8"


async def test_a_reserved_key_ends_the_worker(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)

    lane.accept(fetched((0, b"!mine", b"+")))
    await until(lambda: around.errors)

    assert isinstance(around.errors[0], ReservedKey)


async def test_the_next_owner_has_a_higher_epoch_than_one_that_wrote_nothing(bench: Bench) -> None:
    first = await bench.lane(bench.around(), generation=3)
    second = await bench.lane(bench.around(), generation=1)

    assert (first.stamp.epoch, second.stamp.epoch) == (3, 4)


async def test_a_zombie_does_not_win_over_the_owner(bench: Bench) -> None:
    zombie_around, around = bench.around(), bench.around()
    zombie = await bench.lane(zombie_around, generation=1)
    zombie.accept(fetched((0, b"a", b"+"), (1, b"b", b"+"), (2, b"c", b"+")))
    await applied(zombie, 3)
    owner = await bench.lane(around, generation=2)
    owner.accept(fetched((3, b"a", b"+"), (4, b"b", b"x"), (5, b"a", b"+")))
    await applied(owner, 6)

    zombie.accept(fetched((3, b"a", b"+"), (4, b"b", b"+")))
    await until(lambda: zombie_around.gone)
    owner.accept(fetched((6, b"c", b"+")))
    await applied(owner, 7)

    expected = {b"a": b"3@5", b"c": b"2@6"}
    assert dict(owner.database.scan(b"")) == expected
    assert await bench.rebuilt() == expected
    assert not zombie.open
    assert zombie_around.sums.told[-1] == ("revoked",)
    assert not around.gone


async def test_a_zombies_later_record_is_not_the_last_word_on_the_changelog(bench: Bench) -> None:
    """Or compaction would leave it as the only one."""
    zombie = await bench.lane(bench.around(), generation=1)
    owner = await bench.lane(bench.around(), generation=2)
    owner.accept(fetched((0, b"a", b"+"), (1, b"b", b"+"), (2, b"b", b"x")))
    await applied(owner, 3)
    zombie.accept(fetched((0, b"a", b"+"), (1, b"b", b"+")))
    await until(lambda: not zombie.open)

    owner.accept(fetched((3, b"c", b"+")))
    await applied(owner, 4)

    last = {row.key: row.value for row in await bench.changelog()}
    assert (last[b"a"], last[b"b"], last[b"c"]) == (b"1@0", None, b"1@3")


async def test_a_zombies_row_that_the_owner_never_wrote_is_told_as_foreign(bench: Bench) -> None:
    around = bench.around()
    zombie = await bench.lane(bench.around(), generation=1)
    owner = await bench.lane(around, generation=2)
    zombie.accept(fetched((0, b"a", b"+"), (1, b"b", b"+")))
    await until(lambda: not zombie.open)

    owner.accept(fetched((0, b"a", b"+")))
    await applied(owner, 1)
    owner.accept(fetched((1, b"b", b"+")))
    await applied(owner, 2)

    assert ("outdated", {b"b"}) in around.sums.told
    assert dict(owner.database.scan(b"")) == {b"a": b"1@0", b"b": b"1@1"}
    assert await bench.rebuilt() == {b"a": b"1@0", b"b": b"1@1"}


async def test_a_closed_lane_writes_nothing(bench: Bench) -> None:
    around = bench.around()
    lane = await bench.lane(around)
    before = len(await bench.changelog())

    await lane.close(5)
    lane.accept(fetched((0, b"a", b"+")))
    await asyncio.sleep(0.2)

    assert len(await bench.changelog()) == before
    assert around.sums.told == [("recovered", {}), ("revoked",)]


async def test_the_chunk_in_hand_is_finished_and_the_queue_dropped(bench: Bench) -> None:
    lane = await bench.lane(bench.around())

    lane.accept(fetched((0, b"a", b"+")))
    lane.accept(fetched((1, b"a", b"+")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await lane.close(5)

    assert await bench.rebuilt() == dict(lane.database.scan(b""))
    assert lane.database.get(b"a") == b"1@0"


async def test_a_lane_closed_while_it_takes_over_leaves_the_database_as_it_was(bench: Bench) -> None:
    around = bench.around()
    lane = PartitionTask(0, Database(bench.directory / "db"), around, generation=1)

    beginning = asyncio.create_task(lane.begin([], []))
    await asyncio.sleep(0)
    await lane.close(0)
    await beginning

    assert lane.database.offset == -1
    assert around.sums.told == []
