"""A replay folds as a worker does: never wrong at any block, live wherever a worker is, whatever is on the topics."""

from collections.abc import Sequence
from random import Random

import msgspec
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from lab.fuzz.chain_model import ChainItem, Plan, World, metadata
from lab.fuzz.model_run import Run
from protocols.types import Block
from protocols.v2 import Sync, V2State
from replay.history import History
from replay.partition_replay import PartitionReplay
from replay.pool_line import PoolLine, pool_line, whole_digest
from streams.kafka.records import Gap, Head, Header, Listed, Reorg, Snapshot, Update, encode_record
from tables.chain import UndecodableUpdate
from tables.live import Live
from tables.pool import WaitingKind


def randoms() -> st.SearchStrategy[Random]:
    return st.integers(0, 2**64 - 1).map(Random)


def record(topic: str, offset: int, key: str | None, value: bytes | None) -> ConsumerRecord:
    raw = key.encode() if key else None
    return ConsumerRecord(topic, 0, offset, 0, 0, raw, value, None, len(raw or b""), len(value or b""), ())


def chain_record(offset: int, item: ChainItem) -> ConsumerRecord:
    if isinstance(item, UndecodableUpdate):
        return record("chain", offset, item.pool, b"{")
    return record("chain", offset, item.pool if isinstance(item, Update) else None, encode_record(item))


def chain_records(items: Sequence[ChainItem]) -> list[ConsumerRecord]:
    return [chain_record(offset, item) for offset, item in enumerate(items)]


def started(world: World, memory: int = 64) -> PartitionReplay:
    replay = PartitionReplay(memory)
    listings = [(pool, encode_record(listed) if listed else None) for pool, listed in world.whitelist]
    replay.list_pools([record("whitelist", offset, pool, value) for offset, (pool, value) in enumerate(listings)])
    for offset, snapshot in enumerate(world.snapshots):
        replay.snapshots.add(snapshot, offset)
    return replay


def folded(world: World, items: Sequence[ChainItem] | None = None, memory: int = 64) -> PartitionReplay:
    replay = started(world, memory)
    for each in chain_records(world.chain if items is None else items):
        replay.fold(each)
    return replay


def lines(replay: PartitionReplay) -> list[PoolLine]:
    assert replay.head is not None
    block = Block(replay.head.number, replay.head.hash)
    return [pool_line(replay.partition, pool, block) for pool in replay.partition.pools.values()]


def assert_true(world: World, replay: PartitionReplay) -> None:
    assert replay.head is not None
    truth = world.nodes[replay.head.hash].pools
    for pool_id, pool in replay.partition.pools.items():
        if isinstance(pool.life, Live):
            held = pool.life.price, pool.life.ticks
            assert held == (truth[pool_id].whole.price, truth[pool_id].whole.ticks)


@given(randoms())
def test_a_live_pool_is_as_the_chain_has_it_at_every_block(random: Random) -> None:
    world = World(random, Plan(steps=25))
    replay = started(world, memory=random.choice([1, 8, 64]))

    for each in chain_records(world.chain):
        if replay.fold(each) is not None:
            assert_true(world, replay)

    assert replay.head == world.tip.header


@given(randoms())
def test_what_is_live_in_a_worker_is_live_in_a_replay_with_the_same_digest(random: Random) -> None:
    world = World(random, Plan(steps=20, faults=False))
    worker = Run(world, random)
    worker.to_the_end(crashes=0.0)
    worker.last_snapshots()

    replayed = {line.id: line for line in lines(folded(world))}

    block = world.tip.block
    assert replayed.keys() == worker.partition.pools.keys()
    for pool_id, pool in worker.partition.pools.items():
        if isinstance(pool.life, Live) and not lost_its_first_price(replayed[pool_id]):
            assert replayed[pool_id].digest == pool_line(worker.partition, pool, block).digest


def lost_its_first_price(line: PoolLine) -> bool:
    """Its Initialize was reorganised away: it waits for a snapshot that a worker would ask for."""
    return line.reason is not None and line.reason["kind"] == WaitingKind.UNINITIALIZED


@given(randoms())
def test_records_that_are_on_the_topic_twice_change_nothing(random: Random) -> None:
    world = World(random, Plan(steps=15, faults=False))
    twice = [item for item in world.chain for _ in range(1 if isinstance(item, Reorg) else 2)]

    assert whole_digest(lines(folded(world, twice))) == whole_digest(lines(folded(world)))


@given(randoms())
def test_the_rows_of_ticks_lead_from_the_first_state_to_the_last(random: Random) -> None:
    """A row is a tick as a block left it; one that is gone has neither gross nor net."""
    world = World(random, Plan(steps=20, faults=False))
    replay, history = (
        started(world, memory=random.choice([1, 8, 64])),
        History(random.randint(0, world.tip.block.number), None),
    )

    for each in chain_records(world.chain):
        if each.key is not None:
            history.update(each)
        changes = replay.fold(each)
        if changes is not None and replay.head is not None:
            history.block(replay.head, changes)

    rows = history.rows()
    held: dict[str, dict[int, tuple[int, int]]] = {}
    for row in rows.ticks:
        held.setdefault(row.pool, {})[row.tick.tick] = (row.tick.liquidity_gross, row.tick.liquidity_net)
    for pool_id, pool in replay.partition.pools.items():
        if isinstance(pool.life, Live):
            left = {at: amounts for at, amounts in held.get(pool_id, {}).items() if amounts != (0, 0)}
            assert left == {tick.tick: (tick.liquidity_gross, tick.liquidity_net) for tick in pool.life.ticks}


POOL = metadata(0, "v2")


def block(number: int, fork: str = "a") -> Header:
    return Header(number, f"0x{fork}{number:x}", f"0x{fork}{number - 1:x}", number)


def at(header: Header) -> Block:
    return Block(header.number, header.hash)


def replayed_by_hand(items: Sequence[ChainItem], *snapshots: Snapshot) -> PoolLine:
    replay = PartitionReplay(64)
    replay.list_pools([record("whitelist", 0, POOL.id, encode_record(Listed(POOL, 0)))])
    for offset, snapshot in enumerate(snapshots):
        replay.snapshots.add(snapshot, offset)
    for each in chain_records(items):
        replay.fold(each)
    (line,) = lines(replay)
    return line


SNAPSHOT = Snapshot(POOL.id, at(block(4)), V2State(100, 100))
"""Of the block before the first."""


def test_records_of_a_bridge_that_has_been_replaced_are_ignored() -> None:
    def swap(reserve: int, term: int) -> Update:
        return Update(POOL.id, at(block(5)), (Sync(reserve, reserve),), term=term)

    line = replayed_by_hand(
        [swap(1, term=1), Head(block(6), 0, 2), swap(7, term=1), Head(block(5), 1, 1)],
        msgspec.structs.replace(SNAPSHOT, block=at(block(5))),
    )

    assert line.state == {"reserve0": "100", "reserve1": "100"}


def test_a_gap_leaves_a_pool_waiting_with_its_reason_until_the_next_snapshot() -> None:
    items: list[ChainItem] = [
        Head(block(5), 0),
        Gap(6, 6, "the node does not have it"),
        Head(block(7), 0),
        Head(block(8), 0),
    ]

    waiting = replayed_by_hand(items, SNAPSHOT)
    live = replayed_by_hand(items, SNAPSHOT, Snapshot(POOL.id, at(block(7)), V2State(5, 5)))

    assert (waiting.status, waiting.reason) == ("waiting", {"kind": "gap", "detail": "the node does not have it"})
    assert (waiting.state, waiting.digest) == (None, None)
    assert live.state == {"reserve0": "5", "reserve1": "5"}


def test_a_pool_whose_history_does_not_reach_back_says_from_which_block_a_snapshot_is_missing() -> None:
    line = replayed_by_hand([Head(block(5), 0), Head(block(6), 0)], Snapshot(POOL.id, at(block(2)), V2State(1, 1)))

    assert line.status == "waiting"
    assert line.reason == {"kind": "listed", "detail": "the topics have no snapshot of it from block 4 to 6"}


def test_a_block_that_a_reorg_takes_away_leaves_no_trace() -> None:
    line = replayed_by_hand(
        [
            Head(block(5), 0),
            Update(POOL.id, at(block(6)), (Sync(1, 1),)),
            Head(block(6), 1),
            Reorg(at(block(5))),
            Update(POOL.id, Block(6, "0xb6"), (Sync(2, 2),)),
            Head(Header(6, "0xb6", "0xa5", 6), 1),
        ],
        SNAPSHOT,
    )

    assert (line.block, line.state) == (Block(6, "0xb6"), {"reserve0": "2", "reserve1": "2"})
