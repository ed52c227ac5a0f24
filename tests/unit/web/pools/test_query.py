"""POST /pools/query: many pools as of one block, while blocks and reorgs reach the partitions of two workers."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.types import Block, PoolId, PoolMetadata
from protocols.v2 import Sync, V2State
from streams.kafka.records import Head, Header, Listed, Reorg, Snapshot, Update
from streams.kafka.topics import partition_of
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.partition import Changes, Partition
from tests.support.web_cluster import NATIVE, NEVER_READ, PARTITIONS, POOLS, USDC, V4, Cluster, block

Answer = dict[str, Any]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    yield started
    await started.stop()


async def query(cluster: Cluster, body: object, worker: int = 0, parameters: str = "") -> tuple[int, Answer]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{cluster.owners[worker].url}/pools/query{parameters}", data=json.dumps(body)) as answer,
    ):
        return answer.status, msgspec.json.decode(await answer.read())


@pytest.mark.parametrize("worker", [0, 1])
async def test_pools_of_all_partitions_come_in_one_answer(cluster: Cluster, worker: int) -> None:
    ids = [V4, *reversed(POOLS)]

    status, body = await query(cluster, {"ids": ids}, worker)

    assert status == 200
    assert [pool["id"] for pool in body["pools"]] == ids
    assert (body["block"]["number"], body["block"]["hash"], body["unknown"]) == (3, block(3).hash, [])
    for pool in body["pools"]:
        _, alone = await cluster.get(f"/pools/{pool['id']}/")
        assert {name: alone[name] for name in pool} == pool


@pytest.mark.parametrize("at", [2, "2", block(2).hash])
async def test_pools_are_as_of_the_block_that_is_asked_for(cluster: Cluster, at: object) -> None:
    _, body = await query(cluster, {"ids": [*POOLS, V4], "at": at, "ticks": True})

    assert body["block"]["number"] == 2
    ticks = {pool["id"]: pool["ticks"] for pool in body["pools"]}
    assert [each["tick"] for each in ticks[V4]] == [-10, 10]
    assert (ticks[POOLS[0]], ticks[NEVER_READ]) == ([], None)


async def test_a_pool_that_is_not_listed_is_named(cluster: Cluster) -> None:
    nobody = f"0x{'ee' * 20}"

    status, body = await query(cluster, {"ids": [nobody, POOLS[1], POOLS[1].replace("0x", "0X"), nobody]})

    assert status == 200
    assert [pool["id"] for pool in body["pools"]] == [POOLS[1]]
    assert body["unknown"] == [nobody]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ids": []}, 400),
        ({"ids": ["0x12"]}, 400),
        ({"ids": [1]}, 400),
        ({"ids": [V4] * 1001}, 400),
        ({"ids": [V4], "at": -1}, 400),
        ({"ids": [V4], "at": "pending"}, 400),
        ({"ids": [V4], "at": 10**30}, 404),
        ({"ids": [V4], "ticks": 1}, 400),
        ({"ids": [V4], "block": 1}, 400),
        ({}, 400),
        ([], 400),
        ({"ids": [V4], "at": 9}, 404),
        ({"ids": [V4], "at": f"0x{'77' * 32}"}, 404),
        ({"ids": [V4], "at": "finalized"}, 404),
    ],
)
@pytest.mark.parametrize("worker", [0, 1])
async def test_what_cannot_be_answered_is_refused_with_a_sentence(
    cluster: Cluster, body: object, status: int, worker: int
) -> None:
    answered, error = await query(cluster, body, worker)

    assert answered == status
    assert " " in error["error"]


async def test_an_answer_that_is_too_old_is_refused(cluster: Cluster) -> None:
    status, body = await query(cluster, {"ids": [*POOLS, V4]}, parameters="?max_age_s=30")

    assert status == 503
    assert body["age_s"] > 10**9


async def test_a_worker_that_is_gone_is_named(cluster: Cluster) -> None:
    await cluster.runners[1].cleanup()

    status, body = await query(cluster, {"ids": POOLS})

    assert status == 503
    assert cluster.owners[1].url in body["error"]


class Race:
    """The same chain reaches the partitions at different speeds; every pool's reserves name the block and its fork."""

    def __init__(self, cluster: Cluster, forks: Sequence[int]) -> None:
        """`forks`: of each reorg, how many blocks it takes back."""
        self.partitions = {index: changes(index) for index in range(PARTITIONS)}
        for processor, owners in zip(cluster.processors, cluster.owners, strict=True):
            processor.partitions = {index: self.partitions[index].partition for index in owners.mine}
        self.records = list(chain_records(forks))
        self.read = dict.fromkeys(range(PARTITIONS), 0)

    def advance(self, index: int) -> None:
        """One block or reorg reaches the partition."""
        if self.read[index] == len(self.records):
            return
        record = self.records[self.read[index]]
        self.read[index] += 1
        changes = self.partitions[index]
        if isinstance(record, Reorg):
            fold_chain(changes, record, self.read[index])
            return
        mine = [pool for pool in POOLS if home(pool) == index]
        at = Block(record.number, record.hash)
        for pool in mine:
            fold_chain(changes, Update(pool, at, (Sync(int(record.hash, 16), 1),)), self.read[index])
        fold_chain(changes, Head(record, len(mine)), self.read[index])

    def newest_common(self, pools: Sequence[PoolId]) -> Block | None:
        chains = [self.partitions[index].partition.chain for index in {home(pool) for pool in pools}]
        known = [{Block(head.number, head.hash) for head in chain.heads} for chain in chains]
        return max(set.intersection(*known), key=lambda each: each.number, default=None)


def home(pool: PoolId) -> int:
    return partition_of(pool.encode(), PARTITIONS)


def changes(index: int) -> Changes:
    made = Changes(Partition(64))
    mine = [pool for pool in POOLS if home(pool) == index]
    for pool in mine:
        fold_listing(made, pool, Listed(PoolMetadata(pool, "v2", NATIVE, USDC), 1), 0)
    fold_chain(made, Head(Header(1, block(1).hash, block(0).hash, 1), 0), 0)
    for pool in mine:
        fold_snapshot(made, Snapshot(pool, block(1), V2State(1, 1)), 0)
    return made


def chain_records(forks: Sequence[int]) -> Iterator[Header | Reorg]:
    heads = [Header(1, block(1).hash, block(0).hash, 1)]
    for fork, depth in enumerate(forks, 1):
        for _ in range(3):
            number = heads[-1].number + 1
            heads.append(Header(number, f"0x{(fork << 32) + number:064x}", heads[-1].hash, number))
            yield heads[-1]
        kept = heads[: max(1, len(heads) - depth)]
        if depth:
            yield Reorg(Block(kept[-1].number, kept[-1].hash))
        heads = kept


def check(answer: Answer) -> None:
    truth = int(answer["block"]["hash"], 16)
    for pool in answer["pools"]:
        assert pool["state"]["reserve0"] == str(truth), (pool["id"], answer["block"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    forks=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    steps=st.lists(st.integers(0, PARTITIONS - 1), max_size=50),
    pools=st.lists(st.sampled_from(POOLS), min_size=1, max_size=20, unique=True),
    worker=st.integers(0, 1),
)
async def test_all_pools_are_as_of_the_newest_block_that_their_partitions_share(
    cluster: Cluster, forks: list[int], steps: list[int], pools: list[PoolId], worker: int
) -> None:
    race = Race(cluster, forks)
    for index in steps:
        race.advance(index)

    status, answer = await query(cluster, {"ids": pools}, worker)

    common = race.newest_common(pools)
    assert common is not None  # block 1
    assert status == 200
    assert (answer["block"]["number"], answer["block"]["hash"]) == (common.number, common.hash)
    assert [pool["id"] for pool in answer["pools"]] == pools
    check(answer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(
    forks=st.lists(st.integers(0, 4), min_size=3, max_size=6),
    steps=st.lists(st.integers(0, PARTITIONS - 1), min_size=60, max_size=120),
)
async def test_answers_are_of_one_block_while_blocks_and_reorgs_go_on(
    cluster: Cluster, forks: list[int], steps: list[int]
) -> None:
    race = Race(cluster, forks)

    async def advance() -> None:
        for index in steps:
            race.advance(index)
            await asyncio.sleep(0)

    advancing = asyncio.create_task(advance())
    answers = []
    for worker in itertools.cycle((0, 1)):
        answers.append(await query(cluster, {"ids": POOLS}, worker))
        if advancing.done():
            break
    await advancing

    assert {status for status, _ in answers} <= {200, 503}
    for status, answer in answers:
        if status == 200:
            check(answer)
