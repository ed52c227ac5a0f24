"""Topic `updates` as a worker writes it: folded by a reader that knows only the topic, in any order, with crashes."""

from collections import deque
from random import Random

import msgspec
import pytest

from lab.fuzz.chain_model import Plan, World
from lab.fuzz.model_run import Run
from protocols.ticks import Liquidity, Ticks, from_ticks
from protocols.types import PoolId
from streams.kafka.records import Undecodable
from streams.updates import (
    BlockClosed,
    PoolChanged,
    PoolRemoved,
    ReorgClosed,
    UpdatesRecord,
    decode_updates_record,
)
from tables.durable.chunks import Append
from tables.partition import Source
from tables.pool import Waiting
from tables.processing.updates import UpdatesRecorder, changed_ticks
from tables.views.pool import pool_view

TOPIC = "test.updates"
EACH: tuple[Source, ...] = ("whitelist", "chain", "snapshots")


class RecordedRun(Run):
    """A worker that also writes the topic; a crash comes after that and amid the rows."""

    def __init__(self, world: World, random: Random) -> None:
        self.log: list[Append] = []
        self.epoch = 0
        super().__init__(world, random)
        self.record()

    def record(self) -> None:
        self.epoch += 1
        self.recorder = UpdatesRecorder(TOPIC, self.partition, self.epoch)

    def restart(self) -> None:
        super().restart()
        self.record()

    def apply(self, source: Source, offset: int) -> None:
        super().apply(source, offset)
        if self.recorder.is_block_closed:
            self.close()

    def close(self) -> None:
        deque(self.recorder.close(self.changes), maxlen=0)
        self.log += self.recorder.appends()

    def chunk(self, source: Source, length: int, crashes: float = 0.0) -> None:
        first = self.read[source]
        end = min(first + length, len(self.topic(source)))
        for offset in range(first, end):
            self.apply(source, offset)
        self.close()
        rows = self.changes.commit(source, end - 1)
        self.changes = type(self.changes)(self.partition)
        if self.random.random() >= crashes:
            self.rows.write(rows)
            self.read[source] = end
            return
        self.rows.write(rows, only=self.random.randint(0, len(rows)))
        self.restart()


class Reader:
    """Folds the topic, and nothing else: pools as JSON, ticks as a dict."""

    def __init__(self) -> None:
        self.pools: dict[str, dict[str, object]] = {}
        self.ticks: dict[str, dict[int, tuple[str, str]]] = {}
        self.open: list[PoolChanged | PoolRemoved] = []

    def read(self, record: UpdatesRecord) -> None:
        match record:
            case PoolChanged() | PoolRemoved():
                self.open.append(record)
            case BlockClosed() | ReorgClosed():
                assert record.pools == len(self.open)
                for each in self.open:
                    self.apply(each)
                self.open = []

    def apply(self, record: PoolChanged | PoolRemoved) -> None:
        if isinstance(record, PoolRemoved):
            self.pools.pop(record.id, None)
            self.ticks.pop(record.id, None)
            return
        pool = msgspec.json.decode(record.pool)
        changed = msgspec.json.decode(record.ticks)
        self.pools[pool["id"]] = pool
        if changed is None:
            self.ticks.pop(pool["id"], None)
            return
        ticks = self.ticks.setdefault(pool["id"], {})
        for tick in changed:
            ticks[tick["tick"]] = tick["liquidity_gross"], tick["liquidity_net"]
            if tick["liquidity_gross"] == "0":
                del ticks[tick["tick"]]


def read_all(log: list[Append]) -> Reader:
    reader = Reader()
    for append in log:
        record = decode_updates_record(append.value)
        reader.read(record)
        assert (append.key is None) == isinstance(record, BlockClosed | ReorgClosed)
    return reader


@pytest.mark.parametrize("seed", range(60))
def test_folding_the_topic_gives_the_pools_of_the_worker(seed: int) -> None:
    random = Random(seed)
    world = World(random, Plan(random.choice([3, 6, 12, 25]), random.choice([2, 10]), random.random() < 0.5))
    run = RecordedRun(world, random)
    crashes = random.choice([0, 0.15, 0.5])
    while left := [source for source in EACH if run.read[source] < len(run.topic(source))]:
        run.chunk(random.choice(left), random.randint(1, random.choice([1, 4, 40])), crashes)
        run.scrape()
    run.last_snapshots()
    run.close()

    reader = read_all(run.log)

    pools = run.partition.pools
    assert reader.pools == {
        pool_id: msgspec.json.decode(msgspec.json.encode(pool_view(run.partition, pool)))
        for pool_id, pool in pools.items()
    }
    for pool_id, pool in pools.items():
        if isinstance(pool.life, Waiting):
            assert pool_id not in reader.ticks
        else:
            ours = {each.tick: (str(each.liquidity_gross), str(each.liquidity_net)) for each in pool.life.ticks}
            assert reader.ticks.get(pool_id, {}) == ours


@pytest.mark.parametrize("seed", range(20))
def test_each_block_and_reorg_is_closed_once_and_in_order_where_nothing_crashes(seed: int) -> None:
    random = Random(seed)
    world = World(random, Plan(12, 4, faults=False))
    run = RecordedRun(world, random)
    run.chunk("whitelist", len(world.whitelist))
    run.chunk("chain", len(world.chain))

    closings = [record for each in run.log if not isinstance(record := decode_updates_record(each.value), PoolChanged)]

    path: list[str] = []
    for record in closings:
        if isinstance(record, ReorgClosed):
            dropped = [block.hash for block in record.dropped]
            assert path[-len(dropped) :] == dropped
            del path[-len(dropped) :]
            assert path[-1] == record.ancestor.hash
        elif isinstance(record, BlockClosed) and record.block and record.block.hash not in path:
            path.append(record.block.hash)
    assert path[-8:] == [node.header.hash for node in world.path[-8:]][-len(path[-8:]) :]


def test_changed_ticks_are_those_that_differ_and_zero_where_they_are_gone() -> None:
    before = Ticks(1, {0: {1: Liquidity(5, 5), 2: Liquidity(7, -7)}, 9: {2304: Liquidity(1, 1)}})
    after = Ticks(1, {0: {1: Liquidity(6, 5)}, 9: before.parts[9]})

    changed = [msgspec.json.decode(each) for each in changed_ticks(before, after)]

    assert changed == [
        {"tick": 1, "liquidity_gross": "6", "liquidity_net": "5"},
        {"tick": 2, "liquidity_gross": "0", "liquidity_net": "0"},
    ]
    assert changed_ticks(after, after) == []
    assert len(changed_ticks(None, from_ticks(1, after))) == 2


def test_what_is_no_record_of_the_topic_is_refused() -> None:
    with pytest.raises(Undecodable):
        decode_updates_record(b'{"type":"pool","block":null}')


def test_a_removal_names_its_pool() -> None:
    record = decode_updates_record(b'{"type":"removed","block":null,"epoch":3,"id":"0xab"}')

    assert record == PoolRemoved(None, 3, PoolId("0xab"))
