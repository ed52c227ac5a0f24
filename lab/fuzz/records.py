"""Mutated records of the three topics through a worker's processor, with its rows in a dict.

Two kinds of damage. A record that is undecodable, lost, doubled or out of order costs nothing but snapshots: after any
chunk, what is served is the truth about the block it names. A record that decodes and is false (another amount, another
block) looks like a true one; it must do no lasting harm. In both cases no exception escapes; and once the bridge has
restarted and caught up, the whitelist is repeated and the scraper has read every pool, every pool is live and equal to
the chain.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from random import Random
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import msgspec

from lab.fuzz import mutation
from lab.fuzz.chain_model import World
from lab.fuzz.model_run import SOURCES, MemoryRows, differences
from lab.fuzz.wire import Finding
from lab.fuzz.world import Topic, WorldNode, follower, random_world
from protocols.types import PoolId, pool_id
from streams.bridge.published_chain import PublishedChain, replay_records
from streams.bridge.resume import resume
from streams.kafka import records
from streams.kafka.quotation import to_text
from streams.kafka.records import Listed, Undecodable, Update, encode_record
from streams.kafka.topics import topics
from tables.chain import UndecodableUpdate
from tables.durable.chunks import Chunk
from tables.live import Live
from tables.partition import Partition, Source
from tables.pool import Waiting
from tables.processing.processor import PartitionProcessor
from tables.views import memory as views

TOPICS = topics("fuzz")
MEMORY_BLOCKS = 8
ROUNDS = 3
"""Of snapshots in the end: a pool may ask for a later block, or for one more."""

Harm = Literal["falsified", "damaged", "displaced"]


class Raw(NamedTuple):
    key: bytes | None
    value: bytes | None


class Worker:
    """One partition of a worker, from its topics' bytes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rows = MemoryRows()
        self.offsets = dict.fromkeys(SOURCES, 0)
        self.letters = 0
        self.caught_up = 0
        """Records of the bridge that was started again."""

    async def start(self) -> None:
        self.processor = PartitionProcessor(TOPICS, MEMORY_BLOCKS, clock=lambda: 0.0)
        await self.processor.recovered(0, self._rows)

    @property
    def partition(self) -> Partition:
        return self.processor.partitions[0]

    async def fold(self, source: Source, raw: Iterable[Raw]) -> None:
        first = self.offsets[source]
        topic = getattr(TOPICS, source)
        chunk: list[Any] = [
            SimpleNamespace(topic=topic, partition=0, offset=offset, key=each.key, value=each.value)
            for offset, each in enumerate(raw, first)
        ]
        if chunk:
            self.offsets[source] = first + len(chunk)
            folded = await self.processor.fold(0, self._rows, Chunk(topic, 0, chunk))
            self._rows.write(dict(folded.rows))
            self.letters += sum(name == TOPICS.dead_letters for name, _, _ in folded.sends)

    @property
    def longest_wait(self) -> int:
        """The first block from which every pool takes snapshots; after two divergences one takes none for a while."""
        lives = (pool.life for pool in self.partition.pools.values())
        return max((life.ask_from for life in lives if isinstance(life, Waiting)), default=0)

    def check(self) -> None:
        """Raises Finding where what is served is not the truth about the block it names."""
        for key, pool in self.partition.pools.items():
            found = views.at(self.partition, pool, None)
            wrong = differences(found, self._world.nodes[found.block.hash].pools[key]) if found else ()
            if found and wrong:
                raise Finding(f"{key} is served wrong at block {found.block.number}: {wrong}")

    def check_end(self) -> None:
        head = self._world.tip.header
        if self.partition.chain.head != head:
            raise Finding(f"the head is {self.partition.chain.head} instead of {head}")
        for key, naive in self._world.tip.pools.items():
            pool = self.partition.pools.get(key)
            if pool is None or isinstance(pool.life, Live) != naive.initialized:
                raise Finding(f"{key} is not live in the end: {pool.life if pool else 'not there'}")
            found = views.at(self.partition, pool, None)
            if naive.initialized and (found is None or differences(found, naive)):
                raise Finding(f"{key} is wrong in the end")


def topics_of(world: World) -> dict[Source, list[Raw]]:
    """The bridge of a world writes its term, or is of an earlier version."""
    random, term = world.random, world.random.choice((None, 1))
    snapshots = [_snapshot(world, pool, random.choice(world.path).block) for pool in world.tip.pools for _ in "ab"]
    return {
        "whitelist": [
            Raw(pool.encode(), encode_record(listed) if listed else None) for pool, listed in world.whitelist
        ],
        "chain": [_chained(item, term) for item in world.chain if not isinstance(item, UndecodableUpdate)],
        "snapshots": snapshots + [Raw(each.pool.encode(), encode_record(each)) for each in world.snapshots],
    }


class Records:
    """Inputs for the worker's three topics; a chain serves for several of them."""

    async def run(self, random: Random, inputs: int, counts: Counter[str]) -> None:
        """Raises Finding, and whatever else a fault raises."""
        world = random_world(random)
        raw = topics_of(world)
        while inputs > 0:
            hurt = min(inputs, random.choice((1, 1, 2, 4)))
            inputs -= hurt
            await self._trial(random, world, raw, hurt, counts)

    async def _trial(
        self, random: Random, world: World, raw: dict[Source, list[Raw]], hurt: int, counts: Counter[str]
    ) -> None:
        damaged = {source: list(of) for source, of in raw.items()}
        harms = {_damage(random, damaged, counts) for _ in range(hurt)}
        is_falsified = _is_chain_falsified(harms, damaged["chain"])
        worker, left = Worker(world), {source: list(of) for source, of in damaged.items()}
        await worker.start()
        while some := [source for source in SOURCES if left[source]]:
            source = random.choice(some)
            length = random.choice((1, 3, 10, 100))
            await worker.fold(source, left[source][:length])
            del left[source][:length]
            if random.random() < 0.1:
                await worker.start()
            if not is_falsified:
                worker.check()
        memory = replay_records(_decoded(each) for each in damaged["chain"])
        if memory.head and memory.head.number > world.tip.block.number + 1:
            counts["ahead of the node"] += 1  # what the bridge does about a chain that ends lower is to wait for it
            return
        await self._heal(world, worker, memory)
        worker.check_end()
        counts["dead letters"] += worker.letters

    async def _heal(self, world: World, worker: Worker, memory: PublishedChain) -> None:
        """The bridge, started again, goes on from what it finds on the topic; list and snapshots come once more."""
        topic = Topic()
        following, publisher = follower(world, WorldNode(world), topic, memory.term + 1)
        await resume(publisher, [memory])
        await worker.fold(
            "whitelist", (Raw(pool.encode(), encode_record(listed)) for pool, listed in _listed(world).items())
        )
        for _ in range(ROUNDS):
            while True:
                world.extend()
                if world.tip.block.number >= worker.longest_wait:
                    break
            await following.catch_up(world.tip.block.number)
            await worker.fold("chain", (Raw(entry.key, entry.value) for entry in topic.records[worker.caught_up :]))
            worker.caught_up = len(topic.records)
            await worker.fold("snapshots", [_snapshot(world, pool, world.tip.block) for pool in world.tip.pools])


def _damage(random: Random, raw: dict[Source, list[Raw]], counts: Counter[str]) -> Harm:
    """Hurts one record, or moves some."""
    source = random.choice((*SOURCES, "chain", "chain"))
    records_ = raw[source]
    at = random.randrange(len(records_))
    before = records_[at]
    if source == "chain" and random.random() < 0.2:
        records_[:] = mutation.of_pieces(random, records_) if len(records_) > 1 else records_
        counts["displaced"] += 1
        return "displaced"
    key, value = before
    match random.randrange(12):
        case 0:
            key = mutation.of_bytes(random, key or b"")
        case 1:
            value = None
        case 2 | 3 | 4:
            value = mutation.of_bytes(random, value or b"")
        case _:
            value = mutation.of_json(random, value or b"")
    records_[at] = Raw(key, value)
    harm: Harm = "falsified" if _is_falsified(source, before, records_[at]) else "damaged"
    counts[harm] += 1
    return harm


def _is_chain_falsified(harms: Collection[Harm], chain: Iterable[Raw]) -> bool:
    """An undecodable record is taken for an update of the block in which it stands: moved elsewhere, it is false."""
    return "falsified" in harms or ("displaced" in harms and any(_decoded(each) is None for each in chain))


def _is_falsified(source: Source, before: Raw, after: Raw) -> bool:
    """It decodes to another value; a tombstone in another's place takes a pool off the list.

    So does another pool's key: where the value cannot be read, the key alone says whose update is lost.
    """
    if source == "whitelist" and (not after.value or after.key != before.key):
        return True
    if after.key != before.key and pool_id(to_text(after.key)):
        return True
    try:
        read = {
            "whitelist": records.decode_listed,
            "chain": records.decode_chain,
            "snapshots": records.decode_snapshot,
        }[source]
        said = read(after.value or b"")
    except Undecodable:
        return False
    pool = said.pool.id if isinstance(said, Listed) else getattr(said, "pool", None)
    if pool is not None and to_text(after.key) != pool:
        return False
    try:
        return said != read(before.value or b"") or before.key != after.key
    except Undecodable:
        return True


def _chained(item: Any, term: int | None) -> Raw:
    key = item.pool.encode() if isinstance(item, Update) else None
    return Raw(key, encode_record(msgspec.structs.replace(item, term=term)))


def _snapshot(world: World, pool: PoolId, block: Any) -> Raw:
    return Raw(pool.encode(), encode_record(world.true_snapshot(pool, block)))


def _listed(world: World) -> dict[PoolId, Listed]:
    return {pool: listed for pool, listed in world.whitelist if listed}


def _decoded(raw: Raw) -> records.ChainRecord | None:
    try:
        return records.decode_chain(raw.value or b"")
    except Undecodable:
        return None
