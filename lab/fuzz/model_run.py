"""Folds a world's topics into a partition in any order, with crashes, and compares what it serves with the model."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random
from unittest.mock import patch

from hypothesis import HealthCheck, settings

from lab.fuzz.chain_model import LP_FEE, Naive, Plan, World
from protocols import folding
from streams.kafka.records import Head, Snapshot
from tables import snapshots
from tables.fees import fees_at
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.healing import load
from tables.live import Live
from tables.partition import Changes, Partition, Source
from tables.pool import Pool, Waiting, WaitingKind
from tables.processing.requests import snapshot_request
from tables.views import memory as views
from tables.views.memory import At, BlockRef

settings.register_profile("fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("fast"), max_examples=3_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

ENOUGH_SNAPSHOTS = 150

SOURCES: tuple[Source, ...] = ("whitelist", "chain", "snapshots")


class MemoryRows(dict[bytes, bytes]):
    """Stands in for RocksDB; a torn write leaves the first so many rows of a chunk."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((key, value) for key, value in self.items() if key.startswith(prefix)))

    def write(self, rows: dict[bytes, bytes | None], only: int | None = None) -> None:
        for key, value in list(rows.items())[:only]:
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value


def differences(found: At, truth: Naive) -> tuple[str, ...]:
    """What is served of a pool beside what it is; fees may be unknown, never wrong."""
    fees = fees_at(found.live.fees, found.block.number)
    if fees and (fees.lp_fee, fees.protocol_fee) != (LP_FEE, truth.protocol_fee):
        return (f"fees: held {fees}, chain {truth.protocol_fee}",)
    return folding.differences(found.state, truth.whole)


class Run:
    """One worker that owns one partition."""

    def __init__(self, world: World, random: Random, memory: int = 64, spare_heads: int = 256) -> None:
        self.world, self.random = world, random
        self.eager = random.choice([0.1, 0.5, 1.0])
        self.memory, self.spare_heads = memory, spare_heads
        self.rows = MemoryRows()
        self.read: dict[Source, int] = dict.fromkeys(SOURCES, 0)
        """The next record of each topic, as the durable layer knows it: after all rows of a chunk are written."""
        self.torn_beyond_memory = False
        """A crash came in the middle of a commit of as many blocks as a pool remembers."""
        self.reasons: Counter[WaitingKind] = Counter()
        self.served: Counter[str] = Counter()
        self.changes = self.load()

    @property
    def partition(self) -> Partition:
        return self.changes.partition

    def load(self) -> Changes:
        with patch("tables.partition.SPARE_HEADS", self.spare_heads):
            return load(self.memory, self.rows.get, self.rows.scan).changes

    def to_the_end(self, crashes: float = 0.15) -> None:
        if self.random.random() < 0.5:
            self.chunk("whitelist", len(self.world.whitelist), crashes)
        while left := [source for source in SOURCES if self.read[source] < len(self.topic(source))]:
            self.chunk(self.random.choice(left), self.random.randint(1, self.random.choice([1, 4, 40])), crashes)
            self.scrape()

    def scrape(self) -> None:
        """Answers some snapshot requests with the truth about any block that serves, on any fork."""
        if self.read["chain"] >= len(self.world.chain) or len(self.world.snapshots) > ENOUGH_SNAPSHOTS:
            return  # a pool without a price asks for ever
        for pool in self.partition.pools.values():
            wanted = snapshot_request(pool, self.partition.head)
            if wanted and self.random.random() < self.eager:
                head = self.partition.chain.head
                near = [self.world.nodes[head.hash]] if head else []
                blocks = [*self.world.path, *near * 10, self.random.choice(list(self.world.nodes.values()))]
                serve = [node.block for node in blocks if node.block.number >= wanted.not_before]
                if serve:
                    self.world.snapshots.append(self.world.true_snapshot(wanted.pool.id, self.random.choice(serve)))

    def topic(self, source: Source) -> Sequence[object]:
        topics: dict[Source, Sequence[object]] = {
            "whitelist": self.world.whitelist,
            "chain": self.world.chain,
            "snapshots": self.world.snapshots,
        }
        return topics[source]

    def chunk(self, source: Source, length: int, crashes: float = 0.0) -> None:
        first = self.read[source]
        end = min(first + length, len(self.topic(source)))
        for offset in range(first, end):
            self.apply(source, offset)
            self.check()
        rows = self.changes.commit(source, end - 1)
        self.changes = Changes(self.partition)
        if self.random.random() >= crashes:
            self.rows.write(rows)
            self.read[source] = end
            return
        self.rows.write(rows, only=self.random.randint(0, len(rows)))
        blocks = sum(isinstance(record, Head) for record in self.world.chain[first:end]) if source == "chain" else 0
        self.torn_beyond_memory |= blocks >= self.memory
        self.restart()

    def restart(self) -> None:
        if self.random.random() < 0.3:
            source = self.random.choice(SOURCES)
            self.read[source] = self.random.randint(0, self.read[source])
        self.changes = self.load()
        self.check_rows_agree()
        self.check()

    def apply(self, source: Source, offset: int) -> None:
        match source:
            case "whitelist":
                fold_listing(self.changes, *self.world.whitelist[offset], offset)
            case "chain":
                fold_chain(self.changes, self.world.chain[offset], offset)
            case "snapshots":
                fold_snapshot(self.changes, self.world.snapshots[offset], offset)

    def check_rows_agree(self) -> None:
        """No pool waits without need: its rows contradict each other only after a torn commit beyond its memory."""
        stored_rows = [
            pool.life.reason
            for pool in self.partition.pools.values()
            if isinstance(pool.life, Waiting) and pool.life.reason.kind is WaitingKind.STORED_ROWS
        ]
        assert self.torn_beyond_memory or not stored_rows, stored_rows

    def check(self, everywhere: bool = False) -> None:
        """The main invariant: what is served of a block is the truth about it."""
        for pool in self.partition.pools.values():
            self.check_pool(pool, None)
            if isinstance(pool.life, Waiting):
                assert pool.life.reason.kind is not WaitingKind.DOES_NOT_FOLLOW_ITS_LOGS, pool
                self.reasons[pool.life.reason.kind] += 1
            if everywhere or self.random.random() < 0.05:
                self.check_memory(pool)
                self.check_answerable(pool)

    def check_pool(self, pool: Pool, ref: BlockRef | None) -> None:
        found = views.at(self.partition, pool, ref)
        self.served["yes" if found else "no"] += 1
        if found:
            wrong = differences(found, self.world.nodes[found.block.hash].pools[pool.listed.pool.id])
            assert not wrong, (found.block, wrong)

    def check_memory(self, pool: Pool) -> None:
        head = self.partition.head
        if isinstance(pool.life, Live) and head is not None:
            for number in range(pool.life.base.block.number, head + 1):
                self.check_in_memory(pool, number)
            self.check_in_memory(pool, "safe")
            self.check_in_memory(pool, "finalized")

    def check_in_memory(self, pool: Pool, ref: BlockRef) -> None:
        with suppress(views.NotInMemory):
            self.check_pool(pool, ref)

    def check_answerable(self, pool: Pool) -> None:
        """A snapshot of the head makes any waiting pool live, and the pool asks for one unless it holds one."""
        head = self.partition.chain.head
        if isinstance(pool.life, Live) or head is None or self.partition.is_ahead(pool.listed.pool.id):
            return
        wanted = snapshot_request(pool, head.number)
        assert (wanted is None) == (pool.held is not None)
        if wanted and wanted.not_before <= head.number:
            naive = self.world.nodes[head.hash].pools[wanted.pool.id]
            truth = Snapshot(wanted.pool.id, self.world.nodes[head.hash].block, naive.state)
            answered = snapshots.take(pool, truth, self.partition.chain)
            assert isinstance(answered.life, Live) == naive.initialized, answered

    def last_snapshots(self) -> None:
        for pool in self.partition.pools.values():
            if isinstance(pool.life, Waiting):
                self.world.snapshots.append(self.world.true_snapshot(pool.listed.pool.id, self.world.tip.block))
        self.to_the_end(crashes=0.0)

    def check_end(self) -> None:
        """As a straight replay of the canonical chain has it."""
        assert self.partition.chain.head == self.world.tip.header
        assert self.partition.pools.keys() == self.world.tip.pools.keys()
        for pool_id, naive in self.world.tip.pools.items():
            pool = self.partition.pools[pool_id]
            assert isinstance(pool.life, Live) == naive.initialized, pool
            self.check_pool(pool, None)
        self.check(everywhere=True)


def live_through(random: Random, plan: Plan | None = None) -> Run:
    """A whole world in a random order, to the end and one true snapshot more for each pool that still waits."""
    faults = random.random() < 0.5
    world = World(random, plan or Plan(random.choice([3, 6, 12, 25, 40]), random.choice([2, 10]), faults))
    crashes = random.choice([0, 0.15, 0.5])
    with patch("tables.pool.PENDING_BLOCKS", random.choice([2, 256])):
        run = Run(world, random, memory=random.choice([1, 2, 4, 8, 64]), spare_heads=random.choice([0, 4, 256]))
        run.to_the_end(crashes)
        run.last_snapshots()
        run.check_end()
    return run
