"""Several partitions' updates, written by workers that crash, assembled to blocks that are exact at each of them."""

from collections import deque
from collections.abc import Iterator
from random import Random

import msgspec
import pytest

from lab.fuzz.chain_model import ChainItem, Plan, WhitelistItem, World
from lab.fuzz.model_run import Run
from protocols.types import PoolId
from streams.kafka.records import Head, SnapshotRecord, Update
from streams.updates import decode_updates_record
from tables.chain import UndecodableUpdate
from tables.partition import Changes as PartitionChanges
from tables.partition import Source
from tables.processing.updates import UpdatesRecorder
from tables.views.pool import pool_view
from web.stream.chain.assembly import Assembler
from web.stream.chain.changes import Changes
from web.stream.chain.channel import Channel
from web.stream.chain.partition_log import PartitionLog
from web.stream.chain.timeline import Step, Timeline

Json = dict[str, object]


class Share(World):
    """What one partition gets of a world: the records of some pools, and every head with their number."""

    def __init__(self, whole: World, pools: set[PoolId]) -> None:
        self.random, self.plan, self.nodes, self.path = whole.random, whole.plan, whole.nodes, whole.path
        self.mine = pools
        self.whitelist: list[WhitelistItem] = [item for item in whole.whitelist if item[0] in pools]
        self.snapshots: list[SnapshotRecord] = [each for each in whole.snapshots if each.pool in pools]
        has_all = {pool for pool, _ in whole.whitelist} <= pools
        self.chain: list[ChainItem] = list(whole.chain if has_all else self._chain(whole))

    def _chain(self, whole: World) -> Iterator[ChainItem]:
        arrived: list[Update] = []
        for record in whole.chain:
            if isinstance(record, Update):
                if record.pool in self.mine:
                    arrived.append(record)
                    yield record
            elif isinstance(record, Head):
                hash_ = record.block.hash
                count = len({(each.pool, each.part) for each in arrived if each.block.hash == hash_})
                yield msgspec.structs.replace(record, updates=count)
                arrived = []
            elif not isinstance(record, UndecodableUpdate):
                yield record


class Worker(Run):
    """Of one partition; writes its updates, and ends amid a commit now and then, also amid the updates themselves."""

    def __init__(self, world: World, random: Random, log: list[bytes]) -> None:
        self.log = log
        self.epoch = 0
        super().__init__(world, random)
        self.take_over()

    def take_over(self) -> None:
        self.epoch += 1
        self.recorder = UpdatesRecorder("updates", self.partition, self.epoch)

    def chunk(self, source: Source, length: int, crashes: float = 0.0) -> None:
        first = self.read[source]
        end = min(first + length, len(self.topic(source)))
        for offset in range(first, end):
            self.apply(source, offset)
            if self.recorder.is_block_closed:
                deque(self.recorder.close(self.changes), maxlen=0)
        deque(self.recorder.close(self.changes), maxlen=0)
        written = [each.value for each in self.recorder.appends()]
        rows = self.changes.commit(source, end - 1)
        self.changes = PartitionChanges(self.partition)
        if self.random.random() >= crashes:
            self.log += written
            self.rows.write(rows)
            self.read[source] = end
            return
        amid_updates = self.random.random() < 0.5
        self.log += written[: self.random.randint(0, len(written))] if amid_updates else written
        self.rows.write(rows, only=0 if amid_updates else self.random.randint(0, len(rows)))
        self.changes = self.load()
        self.take_over()


class Mirror:
    """Folds steps as a reader folds events: pools, ticks and the chain of blocks."""

    def __init__(self) -> None:
        self.pools: dict[str, Json] = {}
        self.ticks: dict[str, dict[int, tuple[str, str]]] = {}
        self.head: tuple[int, str] | None = None

    def fold(self, step: Step, timeline: Timeline) -> None:
        head = step.head
        if step.kind == "snapshot":
            self.pools = {pool: msgspec.json.decode(entry.view) for pool, entry in timeline.pools.items()}
        elif step.kind == "reorg":
            assert step.dropped
            assert self.head == (step.dropped[0].number, step.dropped[0].hash)
            assert step.dropped[-1].parent == head.hash
        else:
            assert self.head in ((head.number - 1, head.parent), (head.number, head.hash))
        self.head = head.number, head.hash
        self.change(step.changes)

    def change(self, changes: Changes) -> None:
        for pool, change in changes.items():
            if change.entry is None:
                self.pools.pop(pool, None)
                self.ticks.pop(pool, None)
                continue
            self.pools[pool] = msgspec.json.decode(change.entry.view)
            if change.ticks is None:
                self.ticks.pop(pool, None)
                continue
            ticks = self.ticks.setdefault(pool, {})
            for tick in msgspec.json.decode(change.ticks):
                ticks[tick["tick"]] = tick["liquidity_gross"], tick["liquidity_net"]
                if tick["liquidity_gross"] == "0":
                    del ticks[tick["tick"]]

    def begin(self, channel: Channel) -> None:
        """With the snapshot of a channel, which has no ticks."""
        assert channel.head is not None
        self.head = channel.head.number, channel.head.hash
        self.pools = {pool: msgspec.json.decode(entry.view) for pool, entry in channel.pools().items()}

    def fold_late(self, step: Step, channel: Channel) -> None:
        """A step of final blocks: their order is that of the chain."""
        assert step.kind == "block" or self.head is None or step.head.number <= self.head[0]
        if step.kind == "snapshot":
            self.begin(channel)
        self.head = step.head.number, step.head.hash
        self.change(step.changes)

    def check(self, world: World) -> None:
        """What is live is the truth about the block."""
        self.check_states(world)
        assert self.head is not None
        for id_, pool in self.pools.items():
            true = world.nodes[self.head[1]].pools[PoolId(id_)].whole.ticks
            ticks = {each.tick: (str(each.liquidity_gross), str(each.liquidity_net)) for each in true}
            assert self.ticks.get(id_, {}) == (ticks if pool["status"] == "live" else {}), (self.head, id_)

    def check_states(self, world: World) -> None:
        assert self.head is not None
        node = world.nodes[self.head[1]]
        for id_, pool in self.pools.items():
            if pool["status"] != "live":
                continue
            naive, state = node.pools[PoolId(id_)], pool["state"]
            assert isinstance(state, dict)
            price = naive.whole.price
            served = {name: int(value) for name, value in state.items() if name in price.__struct_fields__}
            assert served == {name: getattr(price, name) for name in price.__struct_fields__}, (self.head, pool)


class Trial:
    """The workers of a world's partitions, at different paces, and a stream that is assembled from what they write."""

    def __init__(self, seed: int, *, faults: bool) -> None:
        self.random = Random(seed)
        self.world = World(self.random, Plan(self.random.choice([6, 12, 25]), self.random.choice([2, 10]), faults))
        pools = [pool_id for pool_id, _ in self.world.whitelist]
        shares = [set[PoolId](), set[PoolId]()]
        for pool in sorted(set(pools)):
            shares[0 if faults else self.random.randrange(2)].add(pool)  # a share's heads do not say what was lost
        self.logs: list[list[bytes]] = [[], []]
        self.workers = [
            Worker(Share(self.world, share), self.random, log) for share, log in zip(shares, self.logs, strict=True)
        ]
        self.assembler, self.timeline, self.mirror = Assembler(2), Timeline(64), Mirror()
        self.readers = [PartitionLog(partition) for partition in range(2)]
        self.read = [0, 0]
        self.steps: list[Step] = []

    def run(self, crashes: float) -> None:
        while any(self._left(worker) for worker in self.workers):
            worker = self.random.choice([each for each in self.workers if self._left(each)])
            worker.chunk(self.random.choice(self._left(worker)), self.random.randint(1, 10), crashes)
            worker.scrape()
            self.poll(self.random.randint(0, 30))
        for worker in self.workers:
            worker.last_snapshots()
        self.poll(10**6)

    def poll(self, most: int) -> None:
        """Reads so many records of each partition."""
        for partition, log in enumerate(self.logs):
            first = self.read[partition]
            for value in log[first : first + most]:
                if group := self.readers[partition].add(decode_updates_record(value)):
                    self.assembler.add(partition, group)
            self.read[partition] = min(len(log), first + most)
        for transition in self.assembler.transitions():
            for step in self.timeline.apply(transition):
                self.steps.append(step)
                self.mirror.fold(step, self.timeline)
                self.mirror.check(self.world)

    def served(self) -> dict[str, Json]:
        return {
            pool_id: msgspec.json.decode(msgspec.json.encode(pool_view(worker.partition, pool)))
            for worker in self.workers
            for pool_id, pool in worker.partition.pools.items()
        }

    @staticmethod
    def _left(worker: Worker) -> list[Source]:
        sources: tuple[Source, ...] = ("whitelist", "chain", "snapshots")
        return [source for source in sources if worker.read[source] < len(worker.topic(source))]


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.parametrize("crashes", [0.0, 0.3])
def test_every_step_is_exact_and_the_last_is_what_the_workers_serve(seed: int, crashes: float) -> None:
    trial = Trial(seed, faults=False)

    trial.run(crashes)

    tip = trial.world.tip.header
    assert trial.mirror.head == (tip.number, tip.hash)
    assert trial.mirror.pools == trial.served()
    assert [step.kind for step in trial.steps].count("snapshot") == 1


@pytest.mark.parametrize("seed", range(80))
def test_blocks_that_are_lost_make_the_readers_begin_anew(seed: int) -> None:
    trial = Trial(seed, faults=True)

    trial.run(0.2)

    tip = trial.world.tip.header
    assert trial.mirror.head == (tip.number, tip.hash)
    assert trial.mirror.pools == trial.served()
