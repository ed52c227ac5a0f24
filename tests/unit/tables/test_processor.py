"""The processor of the worker's table: bytes of three topics in; rows, snapshot requests and dead letters out."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import REGISTRY

from protocols.concentrated import Initialize
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import Sync, V2State
from protocols.v3 import V3State
from streams.kafka.records import (
    DeadLetter,
    Head,
    Header,
    Listed,
    Record,
    Snapshot,
    SnapshotRequest,
    Unreadable,
    Update,
    decode_snapshot_request,
    encode_record,
)
from streams.kafka.topics import topics
from tables.durable.chunks import Chunk, Folded
from tables.live import Live
from tables.pool import Pool, Reason, Waiting, WaitingKind
from tables.processing.metrics import DEAD_LETTERS
from tables.processing.processor import PartitionProcessor
from tables.views.pool import pool_view

TOPICS = topics("test")
POOL = PoolId("0x" + "ab" * 20)
TOKEN = Token("0x" + "11" * 20)
LISTED = Listed(PoolMetadata(POOL, "v2", TOKEN, TOKEN), from_block=1)


class MemoryRows(dict[bytes, bytes]):
    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((key, value) for key, value in self.items() if key.startswith(prefix)))

    def write(self, folded: Folded) -> None:
        for key, value in folded.rows.items():
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value


class World:
    """One partition of a worker, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows = MemoryRows()
        self.offsets = dict.fromkeys(TOPICS, 0)
        self.start()

    def start(self) -> None:
        self.processor = PartitionProcessor(TOPICS, 64, clock=lambda: self.now)
        asyncio.run(self.processor.recovered(0, self.rows))

    def fold(self, topic: str, *values: tuple[bytes | None, bytes | None]) -> list[tuple[str, bytes, bytes]]:
        records = []
        for key, value in values:
            records.append(
                SimpleNamespace(topic=topic, partition=0, offset=self.offsets[topic], key=key, value=value, timestamp=0)
            )
            self.offsets[topic] += 1
        folded = asyncio.run(self.processor.fold(0, self.rows, Chunk(topic, 0, records)))
        self.rows.write(folded)
        return list(folded.sends)

    def produce(self, topic: str, *records: Record) -> list[tuple[str, bytes, bytes]]:
        return self.fold(
            topic, *((getattr(each, "pool", None) and POOL.encode(), encode_record(each)) for each in records)
        )

    @property
    def life(self) -> Live | Waiting:
        return self.processor.partitions[0].pools[POOL].life


def block_hash(number: int) -> str:
    return f"0x{number:064x}"


def block(number: int) -> Block:
    return Block(number, block_hash(number))


def head(number: int, updates: int = 0) -> Head:
    return Head(Header(number, block_hash(number), block_hash(number - 1), timestamp=0), updates)


def update(number: int, reserve: int) -> Update:
    return Update(POOL, block(number), (Sync(reserve, reserve),))


@pytest.fixture
def world() -> World:
    return World()


def letters(sends: list[tuple[str, bytes, bytes]]) -> list[DeadLetter]:
    return [msgspec.json.decode(value, type=DeadLetter) for topic, _, value in sends if topic == TOPICS.dead_letters]


def requests(sends: list[tuple[str, bytes, bytes]]) -> list[SnapshotRequest]:
    return [decode_snapshot_request(value) for topic, _, value in sends if topic == TOPICS.wanted]


def test_a_listed_pool_asks_for_a_snapshot(world: World) -> None:
    sends = world.produce(TOPICS.whitelist, LISTED)

    assert requests(sends) == [SnapshotRequest(LISTED.pool, "listed", 0)]


def test_a_snapshot_and_the_updates_after_it_make_the_state(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1), update(2, 20), head(2, 1), update(3, 30), head(3, 1))

    world.produce(TOPICS.snapshots, Snapshot(POOL, block(2), V2State(20, 20)))

    partition = world.processor.partitions[0]
    view = pool_view(partition, partition.pools[POOL])
    assert (view.status, partition.head) == ("live", 3)
    assert msgspec.to_builtins(view.state) == {"reserve0": "30", "reserve1": "30"}
    assert view.reference_block == block(2)


def test_the_time_a_pool_waited_is_observed_when_it_is_live(world: World) -> None:
    before_s = REGISTRY.get_sample_value("arena_pool_waited_seconds_sum") or 0.0
    world.produce(TOPICS.whitelist, LISTED)
    world.now = 3.0
    world.produce(TOPICS.chain, head(1))
    world.now = 7.0

    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(20, 20)))

    assert REGISTRY.get_sample_value("arena_pool_waited_seconds_sum") == before_s + 7.0


def test_a_restart_restores_pools_chain_and_positions(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1), update(2, 20), head(2, 1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))
    before = world.processor.partitions[0]

    world.start()

    after = world.processor.partitions[0]
    assert (after.pools, after.chain, after.positions) == (before.pools, before.chain, before.positions)


def test_a_head_that_names_its_child_as_its_parent_ends_what_is_loaded(world: World) -> None:
    child = Head(Header(8, block_hash(8), block_hash(7), timestamp=0), 0)
    world.produce(TOPICS.chain, Head(Header(7, block_hash(7), block_hash(8), timestamp=0), 0), child)

    world.start()

    assert world.processor.partitions[0].chain.head == child.block
    assert len(world.processor.partitions[0].chain.heads) == 2


def test_a_snapshot_request_is_repeated_until_it_is_answered(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))

    world.now = 6.0
    again = requests(list(world.processor.due_requests(retry_s=5)))
    soon = requests(list(world.processor.due_requests(retry_s=5)))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))
    world.now = 20.0
    answered = requests(list(world.processor.due_requests(retry_s=5)))

    assert (len(again), soon, answered) == (1, [], [])


def test_a_pool_that_became_live_is_audited_some_blocks_later(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))

    world.produce(TOPICS.chain, *(head(number) for number in range(2, 12)))
    world.now = 6.0
    asked = requests(list(world.processor.due_requests(retry_s=5)))

    assert [each.reason for each in asked] == ["audit"]


def test_an_undecodable_update_goes_to_dead_letters_and_its_pool_waits(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))

    counted = DEAD_LETTERS.labels("chain")._value.get()
    sends = world.fold(TOPICS.chain, (POOL.encode(), b'{"type":"update","pool"'), (None, encode_record(head(2, 1))))

    letter = letters(sends)[0]
    assert DEAD_LETTERS.labels("chain")._value.get() == counted + 1
    assert (letter.topic, letter.partition, letter.offset, letter.key) == (TOPICS.chain, 0, 1, POOL)
    assert letter.value == '{"type":"update","pool"'
    assert isinstance(world.life, Waiting)
    assert world.life.reason.kind is WaitingKind.DEAD_LETTER
    assert [each.not_before for each in requests(sends)] == [2]


@pytest.mark.parametrize("source", ["whitelist", "chain", "snapshots"])
@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"[]", b"{}", b'{"type":"?"}', b"null", b"1" * 10_000, b'{"type":"\xb0"}']
)
def test_undecodable_records_of_any_topic_go_to_dead_letters_and_the_others_are_folded(
    world: World, source: str, value: bytes
) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))

    sends = world.fold(getattr(TOPICS, source), (b"\x00\xff", value))
    world.produce(TOPICS.chain, head(2))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(2), V2State(7, 7)))

    assert len(letters(sends)) == 1
    assert isinstance(world.life, Live)


def test_a_record_under_another_pools_key_goes_to_dead_letters(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)

    sends = world.fold(TOPICS.snapshots, (b"0x" + b"cd" * 20, encode_record(Snapshot(POOL, block(1), V2State(1, 1)))))

    assert "the record is of" in letters(sends)[0].error


def test_an_update_under_another_pools_key_is_missing_in_its_block(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))

    astray = (b"0x" + b"cd" * 20, encode_record(update(2, 11)))
    sends = world.fold(TOPICS.chain, astray, (None, encode_record(head(2, 1))))

    assert len(letters(sends)) == 1
    assert isinstance(world.life, Waiting)
    assert "0 of 1 updates of block 2 arrived" in str(world.life.reason)


def test_an_inconsistent_snapshot_goes_to_dead_letters(world: World) -> None:
    world.produce(TOPICS.whitelist, Listed(msgspec.structs.replace(LISTED.pool, protocol="v3", tick_spacing=60), 1))
    world.produce(TOPICS.chain, head(1))

    sends = world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(1, 1)))

    assert "cannot have a state of V2State" in letters(sends)[0].error
    assert isinstance(world.life, Waiting)


def test_the_reason_why_a_pool_cannot_be_read_is_its_reason_to_wait(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))

    world.produce(TOPICS.snapshots, Unreadable(POOL, block(1), "there is no contract at this address"))

    assert world.life == Waiting(Reason(WaitingKind.UNREADABLE, "there is no contract at this address"), 1)


def test_a_tombstone_deletes_the_pool_its_rows_and_its_requests(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))

    world.fold(TOPICS.whitelist, (POOL.encode(), None))

    assert world.processor.partitions[0].pools == {}
    assert not [key for key in world.rows if key.startswith((b"0x", b"t/", b"h/"))]
    world.now = 100.0
    assert not list(world.processor.due_requests(retry_s=5))


def test_rows_written_by_another_worker_invalidate_their_pools(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))

    world.processor.outdated(0, [POOL.encode()])
    world.produce(TOPICS.chain, head(2))

    assert isinstance(world.life, Waiting)


def test_records_missing_by_retention_invalidate_every_pool(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))

    world.rows.write(world.processor.missing(0, world.rows, TOPICS.chain, 1, 50))

    assert isinstance(world.life, Waiting)
    assert "deleted before they were read" in str(world.life.reason)


@pytest.mark.parametrize("order", ["wcs", "wsc", "cws", "csw", "swc", "scw"])
def test_the_order_between_topics_does_not_matter(world: World, order: str) -> None:
    topics_by_letter: dict[str, tuple[str, list[Record]]] = {
        "w": (TOPICS.whitelist, [LISTED]),
        "c": (TOPICS.chain, [head(1), *(each for n in range(2, 9) for each in (update(n, n), head(n, 1)))]),
        "s": (TOPICS.snapshots, [Snapshot(POOL, block(3), V2State(3, 3))]),
    }

    for letter in order:
        topic, of_topic = topics_by_letter[letter]
        world.produce(topic, *of_topic)
        world.start()

    partition = world.processor.partitions[0]
    served = pool_view(partition, partition.pools[POOL])
    assert msgspec.to_builtins(served.state) == {"reserve0": "8", "reserve1": "8"}
    assert not [key for key in world.rows if key.startswith(b"s/")]


def test_half_of_the_audits_are_of_any_pool_and_half_of_the_busiest(world: World) -> None:
    quiet = PoolId("0x" + "cd" * 20)
    world.fold(TOPICS.whitelist, (quiet.encode(), encode_record(Listed(PoolMetadata(quiet, "v2", TOKEN, TOKEN), 1))))
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.fold(TOPICS.snapshots, (quiet.encode(), encode_record(Snapshot(quiet, block(1), V2State(1, 1)))))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(1, 1)))
    world.produce(TOPICS.chain, *(each for n in range(2, 12) for each in (update(n, n), head(n, 1))))

    asked = requests([send for _ in range(1000) for send in world.processor.audits(0.5)])

    assert {(each.reason, each.not_before) for each in asked} == {("audit", 11)}
    assert 400 < len(asked) < 600
    assert sum(each.pool.id == POOL for each in asked) > 2 * sum(each.pool.id == quiet for each in asked)
    assert sum(each.pool.id == quiet for each in asked) > len(asked) / 6


def test_a_pool_that_holds_a_snapshot_of_a_block_that_never_comes_asks_again(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(10**9), V2State(10, 10)))

    world.now = 6.0
    soon = requests(list(world.processor.due_requests(retry_s=5)))
    world.now = 66.0
    later = requests(list(world.processor.due_requests(retry_s=5)))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(2), V2State(10, 10)))
    world.produce(TOPICS.chain, head(2))

    assert (soon, len(later)) == ([], 1)
    assert isinstance(world.life, Live)


def unreadable(world: World) -> list[SnapshotRequest]:
    return requests(world.produce(TOPICS.snapshots, Unreadable(POOL, block(1), "no contract")))


def test_a_pool_that_cannot_be_read_asks_ever_less_often(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    waits = []
    for _ in range(12):
        assert unreadable(world) == []
        answered = world.now
        while not list(world.processor.due_requests(retry_s=5)):
            world.now += 1
        waits.append(world.now - answered)

    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]


def test_events_do_not_shorten_the_delay_of_a_pool_that_cannot_be_read(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    for _ in range(5):
        unreadable(world)

    asked = requests(world.produce(TOPICS.chain, update(2, 20), head(2, 1)))
    world.now += 79

    assert (asked, list(world.processor.due_requests(retry_s=5))) == ([], [])


def test_an_event_lets_a_pool_without_a_price_ask_at_once(world: World) -> None:
    key, v3 = POOL.encode(), PoolMetadata(POOL, "v3", TOKEN, TOKEN, 500, 10)
    none_yet = Snapshot(POOL, block(1), V3State(0, 0, 0, ()))
    world.fold(TOPICS.whitelist, (key, encode_record(Listed(v3, 1))))
    world.produce(TOPICS.chain, head(1))
    for _ in range(5):
        world.produce(TOPICS.snapshots, none_yet)

    asked = requests(world.produce(TOPICS.chain, Update(POOL, block(2), (Initialize(1 << 96, 0),)), head(2, 1)))
    world.produce(TOPICS.snapshots, none_yet)

    assert len(asked) == 1
    assert isinstance(world.life, Live)


def test_a_partition_that_goes_takes_its_outdated_pools_and_its_requests_along(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))
    world.processor.outdated(0, [POOL.encode()])

    world.processor.revoked(0)
    world.now = 1000.0
    nothing = [*world.processor.due_requests(retry_s=5), *world.processor.audits(10)]
    asyncio.run(world.processor.recovered(0, world.rows))
    world.produce(TOPICS.chain, head(2))

    assert nothing == []
    assert isinstance(world.life, Live)


def test_the_timer_looks_at_pools_that_wait_and_at_no_others(world: World) -> None:
    world.produce(TOPICS.whitelist, LISTED)
    world.produce(TOPICS.chain, head(1))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(1), V2State(10, 10)))
    world.produce(TOPICS.chain, *(head(number) for number in range(2, 12)))
    world.produce(TOPICS.snapshots, Snapshot(POOL, block(11), V2State(10, 10)))
    partition = world.processor.partitions[0]

    partition.pools = UntouchedPools()

    assert list(world.processor.due_requests(retry_s=5)) == []


class UntouchedPools(dict[PoolId, Pool]):
    def __getitem__(self, pool_id: PoolId) -> Pool:
        raise AssertionError(f"{pool_id} is looked at")

    items = values = __iter__ = __getitem__  # type: ignore[assignment]
