"""Two tasks on one changelog, as an owner and a worker that does not know yet that it is not the owner any more."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from tables.durable.changelog import read_rows, stamped
from tables.durable.chunks import Append, Chunk, Fetched, Folded, Processor, Rows
from tables.durable.database import POSITION, Database, Stamped, read_position
from tables.durable.partition_task import MissingRange, PartitionTask, ReservedKey
from tables.durable.seeking import TRIES, MissingRecords, Seeking
from tests.support.kafka_records import record
from tests.support.waiting import until

pytestmark = pytest.mark.servers

SOURCE, COMPACTED = "source", "compacted"


class Sums:
    """A processor: of each key how many records, and the offset of the last; a value `x` deletes, `big` writes 5 MB."""

    def __init__(self, side_topic: str) -> None:
        self.side_topic = side_topic
        self.calls: list[tuple[object, ...]] = []

    async def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded:
        written: dict[bytes, bytes | None] = {}
        sends, appends = [], []
        for each in chunk.records:
            stored = written[each.key] if each.key in written else rows.get(each.key)
            count, last = map(int, stored.split(b"@")[:2]) if stored else (0, -1)
            if each.offset <= last:
                continue
            padding = b"@" + b"p" * 5_000_000 if each.value == b"big" else b""
            written[each.key] = None if each.value == b"x" else b"%d@%d%b" % (count + 1, each.offset, padding)
            if each.value == b"say":
                sends.append((self.side_topic, each.key, b"said"))
            if each.value == b"append":
                appends += [Append(self.side_topic, None, b"%d" % number) for number in range(5)]
                appends.append(Append(self.side_topic, each.key, b"p" * 1_000_000))
        return Folded(written, sends, appends)

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        self.calls.append(("missing", topic, first, last))
        return Folded({b"missing": b"%d@%d" % (first, last)}, [])

    async def recovered(self, partition: int, rows: Rows, epoch: int) -> None:
        self.calls.append(("recovered", dict(rows.scan(b""))))

    def outdated(self, partition: int, keys: Collection[bytes]) -> None:
        self.calls.append(("outdated", set(keys)))

    def revoked(self, partition: int) -> None:
        self.calls.append(("revoked",))


class Context:
    """What a table does for its tasks, on the real broker; the consumer that seeks is stood in for."""

    contiguous = frozenset({SOURCE})

    def __init__(self, kafka: str, name: str, producer: AIOKafkaProducer) -> None:
        self.changelog = f"{name}.changelog"
        self.sums = Sums(f"{name}.said")
        self.processor: Processor = self.sums
        self.seeking = Seeking(self._seek)
        self.earliest_offset = 0
        self.seeks: list[tuple[str, int]] = []
        self.errors: list[BaseException] = []
        self.fenced_tasks: list[PartitionTask] = []
        self._kafka = kafka
        self._producer = producer

    def producer(self) -> AIOKafkaProducer:
        return self._producer

    async def read_changelog(self, partition: int, first: int, end: int) -> list[Stamped]:
        return await read_rows({"bootstrap_servers": self._kafka}, self.changelog, partition, first, end)

    async def earliest(self, tp: TP) -> int:
        return self.earliest_offset

    def chunk_applied(self) -> None:
        pass

    def fenced(self, task: PartitionTask) -> None:
        self.fenced_tasks.append(task)

    async def crash(self, error: BaseException) -> None:
        self.errors.append(error)

    def fetch(self, *values: tuple[int, bytes, bytes], topic: str = SOURCE) -> Fetched:
        """A chunk of what comes next, as the consumer makes it."""
        return next(self.seeking.chunks(TP(topic, 0), records_of(topic, values)))

    async def _seek(self, offsets: Mapping[TP, int]) -> None:
        self.seeks += [(tp.topic, offset) for tp, offset in offsets.items()]


class Bench:
    """Opens tasks, and reads the changelog as a rebuild would."""

    def __init__(self, kafka: str, name: str, directory: Path, producer: AIOKafkaProducer) -> None:
        self.name = name
        self._kafka = kafka
        self.directory = directory
        self._producer = producer
        self.tasks: list[PartitionTask] = []

    def context(self) -> Context:
        return Context(self._kafka, self.name, self._producer)

    async def task(
        self, context: Context, generation: int = 1, of: str = "db", missing: Collection[MissingRange] = ()
    ) -> PartitionTask:
        """Recovered from the changelog into a database of that name."""
        database = Database(self.directory / f"{of}-{len(self.tasks)}")
        rows = await self.changelog()
        merge = database.merge(rows, len(rows) - 1)
        task = PartitionTask(0, database, context, generation)
        for topic in (SOURCE, COMPACTED):
            task.offsets.setdefault(topic, 0)
        await task.take_over(merge.to_rewrite, missing)
        await context.seeking.to({TP(topic, 0): offset for topic, offset in task.offsets.items()})
        context.seeks.clear()
        task.start()
        self.tasks.append(task)
        return task

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
    for task in bench.tasks:
        await task.close(1)
    await producer.stop()


def records_of(topic: str, values: Iterable[tuple[int, bytes, bytes]]) -> list[ConsumerRecord]:
    return [record(topic, offset, value, key) for offset, key, value in values]


def fetched(*values: tuple[int, bytes, bytes]) -> Fetched:
    """A chunk of SOURCE from before the last seek."""
    records = records_of(SOURCE, values)
    return Fetched(Chunk(SOURCE, 0, records), records[0].offset, 0)


async def sought(context: Context, times: int) -> None:
    await until(lambda: len(context.seeks) == times)


async def applied(task: PartitionTask, position: int, topic: str = SOURCE) -> None:
    await until(lambda: task.offsets[topic] >= position)
    await until(task._idle.is_set)


async def test_a_chunk_is_on_the_changelog_with_its_position_last(bench: Bench) -> None:
    task = await bench.task(bench.context())

    task.accept(fetched((0, b"a", b"+"), (1, b"b", b"+"), (2, b"a", b"say")))
    await applied(task, 3)

    rows = await bench.changelog()
    assert [row.key for row in rows[-3:]] == [b"a", b"b", POSITION]
    assert read_position(rows[-1].value or b"").offsets == {SOURCE: 3, COMPACTED: 0}
    assert {row.stamp for row in rows[-3:]} == {task.stamp}
    assert task.database.offset == len(rows) - 1
    assert [each.value for each in await bench.changelog(f"{bench.name}.said")] == [b"said"]


async def test_rows_of_many_batches_and_of_megabytes_go_out_in_order(bench: Bench) -> None:
    task = await bench.task(bench.context())

    task.accept(fetched(*((n, b"k%03d" % n, b"big" if n == 50 else b"+") for n in range(100))))
    await applied(task, 100)

    rows = await bench.changelog()
    assert [row.key for row in rows[1:]] == [b"k%03d" % n for n in range(100)] + [POSITION]
    assert task.database.offset == 101


async def test_what_was_applied_is_not_applied_again(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)

    task.accept(fetched((0, b"a", b"+"), (1, b"a", b"+")))
    task.accept(fetched((0, b"a", b"+"), (1, b"a", b"+")))
    task.accept(fetched((1, b"a", b"+"), (2, b"a", b"+")))
    await applied(task, 3)

    assert task.database.get(b"a") == b"3@2"


async def test_a_chunk_that_does_not_continue_is_fetched_again(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)

    task.accept(context.fetch((0, b"a", b"+")))
    task.accept(context.fetch((2, b"a", b"+")))
    await until(lambda: context.seeks)
    task.accept(context.fetch((1, b"a", b"+"), (2, b"a", b"+")))
    await applied(task, 3)

    assert context.seeks == [(SOURCE, 1)]
    assert task.database.get(b"a") == b"3@2"


async def test_a_chunk_from_before_a_seek_asks_for_no_other(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)
    before = context.fetch((2, b"a", b"+"))
    await context.seeking.to({TP(SOURCE, 0): 0})
    context.seeks.clear()

    task.accept(before)
    task.accept(context.fetch((0, b"a", b"+")))
    await applied(task, 1)

    assert context.seeks == []
    assert task.database.get(b"a") == b"1@0"


async def test_a_hole_is_fetched_again_after_a_seek_of_another_partition(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)
    await context.seeking.to({TP(SOURCE, 1): 0})
    context.seeks.clear()

    task.accept(context.fetch((2, b"a", b"+")))
    await until(lambda: context.seeks)
    task.accept(context.fetch((0, b"a", b"+"), (1, b"a", b"+"), (2, b"a", b"+")))
    await applied(task, 3)

    assert context.seeks == [(SOURCE, 0)]
    assert task.database.get(b"a") == b"3@2"


async def test_records_that_never_come_end_the_worker(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)

    for seeks in range(TRIES + 1):
        await sought(context, seeks)
        task.accept(context.fetch((2, b"a", b"+")))
    await until(lambda: context.errors)

    assert isinstance(context.errors[0], MissingRecords)
    assert task.database.get(b"a") is None


async def test_a_compacted_topic_has_holes_but_no_missing_chunks(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)

    task.accept(context.fetch((3, b"a", b"+"), (7, b"a", b"+"), topic=COMPACTED))
    context.fetch((9, b"a", b"+"), (14, b"a", b"+"), topic=COMPACTED)  # Faust clears a queue
    task.accept(context.fetch((20, b"a", b"+"), topic=COMPACTED))
    await until(lambda: context.seeks)
    task.accept(context.fetch((9, b"a", b"+"), (20, b"a", b"+"), topic=COMPACTED))
    await applied(task, 21, COMPACTED)

    assert context.seeks == [(COMPACTED, 8)]
    assert task.database.get(b"a") == b"4@20"


async def test_records_that_retention_deleted_are_reported(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context, missing=[MissingRange(SOURCE, 0, 5)])

    context.earliest_offset = 8
    task.accept(context.fetch((8, b"a", b"+")))
    await applied(task, 9)

    assert context.sums.calls[1:] == [("missing", SOURCE, 0, 4), ("missing", SOURCE, 5, 7)]
    assert task.database.get(b"missing") == b"5@7"
    assert task.database.get(b"a") == b"1@8"


async def test_a_reserved_key_ends_the_worker(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)

    task.accept(fetched((0, b"!mine", b"+")))
    await until(lambda: context.errors)

    assert isinstance(context.errors[0], ReservedKey)


async def test_the_next_owner_has_a_higher_epoch_than_one_that_wrote_nothing(bench: Bench) -> None:
    first = await bench.task(bench.context(), generation=3)
    second = await bench.task(bench.context(), generation=1)

    assert (first.stamp.epoch, second.stamp.epoch) == (3, 4)


async def test_a_zombie_does_not_win_over_the_owner(bench: Bench) -> None:
    zombie_context, context = bench.context(), bench.context()
    zombie = await bench.task(zombie_context, generation=1)
    zombie.accept(fetched((0, b"a", b"+"), (1, b"b", b"+"), (2, b"c", b"+")))
    await applied(zombie, 3)
    owner = await bench.task(context, generation=2)
    owner.accept(fetched((3, b"a", b"+"), (4, b"b", b"x"), (5, b"a", b"+")))
    await applied(owner, 6)

    zombie.accept(fetched((3, b"a", b"+"), (4, b"b", b"+")))
    await until(lambda: zombie_context.fenced_tasks)
    owner.accept(fetched((6, b"c", b"+")))
    await applied(owner, 7)

    expected = {b"a": b"3@5", b"c": b"2@6"}
    assert dict(owner.database.scan(b"")) == expected
    assert await bench.rebuilt() == expected
    assert not zombie.open
    assert zombie_context.sums.calls[-1] == ("revoked",)
    assert not context.fenced_tasks


async def test_a_zombies_later_record_is_overridden_on_the_changelog(bench: Bench) -> None:
    """Or compaction would leave it as the only one."""
    zombie = await bench.task(bench.context(), generation=1)
    owner = await bench.task(bench.context(), generation=2)
    owner.accept(fetched((0, b"a", b"+"), (1, b"b", b"+"), (2, b"b", b"x")))
    await applied(owner, 3)
    zombie.accept(fetched((0, b"a", b"+"), (1, b"b", b"+")))
    await until(lambda: not zombie.open)

    owner.accept(fetched((3, b"c", b"+")))
    await applied(owner, 4)

    last = {row.key: row.value for row in await bench.changelog()}
    assert (last[b"a"], last[b"b"], last[b"c"]) == (b"1@0", None, b"1@3")


async def test_a_zombies_row_that_the_owner_never_wrote_is_reported_as_outdated(bench: Bench) -> None:
    context = bench.context()
    zombie = await bench.task(bench.context(), generation=1)
    owner = await bench.task(context, generation=2)
    zombie.accept(fetched((0, b"a", b"+"), (1, b"b", b"+")))
    await until(lambda: not zombie.open)

    owner.accept(fetched((0, b"a", b"+")))
    await applied(owner, 1)
    owner.accept(fetched((1, b"b", b"+")))
    await applied(owner, 2)

    assert ("outdated", {b"b"}) in context.sums.calls
    assert dict(owner.database.scan(b"")) == {b"a": b"1@0", b"b": b"1@1"}
    assert await bench.rebuilt() == {b"a": b"1@0", b"b": b"1@1"}


async def test_appends_are_written_in_order_also_those_larger_than_a_batch(bench: Bench) -> None:
    task = await bench.task(bench.context())

    task.accept(fetched((0, b"a", b"append")))
    task.accept(fetched((1, b"b", b"append")))
    await applied(task, 2)

    appended = [(each.value or b"")[:1] for each in await bench.changelog(f"{bench.name}.said")]
    assert appended == [b"0", b"1", b"2", b"3", b"4", b"p"] * 2


async def test_a_closed_task_writes_nothing(bench: Bench) -> None:
    context = bench.context()
    task = await bench.task(context)
    before = len(await bench.changelog())

    await task.close(5)
    task.accept(fetched((0, b"a", b"+")))
    await asyncio.sleep(0.2)

    assert len(await bench.changelog()) == before
    assert context.sums.calls == [("recovered", {}), ("revoked",)]


async def test_the_chunk_in_hand_is_finished_and_the_queue_dropped(bench: Bench) -> None:
    task = await bench.task(bench.context())

    task.accept(fetched((0, b"a", b"+")))
    task.accept(fetched((1, b"a", b"+")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await task.close(5)

    assert await bench.rebuilt() == dict(task.database.scan(b""))
    assert task.database.get(b"a") == b"1@0"


async def test_a_task_closed_while_it_takes_over_leaves_the_database_as_it_was(bench: Bench) -> None:
    context = bench.context()
    task = PartitionTask(0, Database(bench.directory / "db"), context, generation=1)

    beginning = asyncio.create_task(task.take_over([], []))
    await asyncio.sleep(0)
    await task.close(0)
    await beginning

    assert task.database.offset == -1
    assert context.sums.calls == []
