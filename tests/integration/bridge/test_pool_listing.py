"""The whitelist on NATS becomes the topic `whitelist`, between two blocks."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import nats as nats_client
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from protocols.types import PoolId, PoolMetadata
from settings import Settings
from streams.kafka.records import UNREAD, Listed, decode_listed
from streams.kafka.topics import topics
from tests.support.bridge.bridge_harness import BridgeSystem, bridge_system, list_pools, running_bridge
from tests.support.bridge.emitting_chain import METADATA, TOKENS, V2_POOLS, V3_POOLS

pytestmark = pytest.mark.servers

NEW = PoolId(f"0x{0xA100:040x}")
SINGLETON_POOL = PoolId(f"0x{0xD1:064x}")


def nested(pool: PoolId, protocol: str = "v2", **more: object) -> dict[str, object]:
    tokens = {f"token{side}": {"address": f"0x{side + 1:040x}", "decimals": 18} for side in (0, 1)}
    return {"address": pool, "protocol": protocol, **tokens, **more}


@asynccontextmanager
async def publisher(
    settings: Settings, pools: Sequence[dict[str, object]]
) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Publishes its list whenever it is requested; yields a function that publishes any other."""
    client = await nats_client.connect(str(settings.nats))

    async def publish(pools: Sequence[dict[str, object]], kind: str = "full") -> None:
        message = {"type": kind, "pools": pools, "chain": settings.chain, "timestamp": "", "snapshot_id": 1}
        await client.publish(f"whitelist.pools.{settings.chain}.full", json.dumps(message).encode())
        await client.flush()

    async def on_reseed(_: object) -> None:
        await publish(pools)

    await client.subscribe("whitelist.reseed", cb=on_reseed)
    await client.flush()
    try:
        yield publish
    finally:
        await client.close()


async def on_the_topic(settings: Settings) -> list[tuple[PoolId, Listed | None]]:
    """Every record, in order per pool."""
    partitions = [TopicPartition(topics(settings.chain).whitelist, number) for number in range(settings.partitions)]
    records = []
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                records += (await consumer.getmany(partition, timeout_ms=100)).get(partition, [])
    return [(PoolId(r.key.decode()), None if r.value is None else decode_listed(r.value)) for r in records]


async def latest(settings: Settings, pool: PoolId) -> Listed | None:
    return dict(await on_the_topic(settings)).get(pool)


async def until_listed(settings: Settings, pool: PoolId, wanted: bool = True) -> Listed | None:
    async with asyncio.timeout(60):
        while (await latest(settings, pool) is not None) != wanted:
            await asyncio.sleep(0.1)
    return await latest(settings, pool)


HELD = [nested(pool) for pool in V2_POOLS[:2]]


@asynccontextmanager
async def unlisted_system(settings: Settings) -> AsyncIterator[BridgeSystem]:
    async with bridge_system(settings, str(settings.rpc), listed_before=()) as system:
        yield system


async def test_pools_are_listed_from_the_next_block_and_that_block_has_their_events(settings: Settings) -> None:
    async with publisher(settings, HELD), unlisted_system(settings) as system:
        first, last = await system.feed_blocks(2)
        record = await until_listed(settings, V2_POOLS[0])
        await system.feed_blocks(3)

        assert record is not None
        assert first.number < record.from_block <= last.number + 1
        blocks = await system.chain.blocks_from(record.from_block, V2_POOLS[:2])
        assert system.topic.blocks[-len(blocks) :] == blocks


async def test_without_a_block_nothing_is_listed_because_no_first_block_is_known(settings: Settings) -> None:
    async with publisher(settings, HELD), unlisted_system(settings) as system:
        await asyncio.sleep(1.5)
        assert await on_the_topic(settings) == []

        first, *_ = await system.feed_blocks(1)

        record = await until_listed(settings, V2_POOLS[0])
        assert record is not None
        assert record.from_block == first.number + 1


async def test_a_removed_pool_leaves_a_tombstone_and_no_more_updates(settings: Settings) -> None:
    async with publisher(settings, HELD) as publish, unlisted_system(settings) as system:
        await system.feed_blocks(1)
        await until_listed(settings, V2_POOLS[0])

        await publish(HELD[1:])

        await until_listed(settings, V2_POOLS[0], wanted=False)
        later, *_ = await system.feed_blocks(3)
        assert system.topic.blocks[-3:] == await system.chain.blocks_from(later.number, V2_POOLS[1:2])


async def test_a_pool_listed_again_has_a_new_first_block(settings: Settings) -> None:
    async with publisher(settings, HELD) as publish, unlisted_system(settings) as system:
        await system.feed_blocks(1)
        before = await until_listed(settings, V2_POOLS[0])
        await publish(HELD[1:])
        await until_listed(settings, V2_POOLS[0], wanted=False)
        last, *_ = await system.feed_blocks(1)

        await publish(HELD)

        after = await until_listed(settings, V2_POOLS[0])
        assert before is not None
        assert after is not None
        assert before.from_block < after.from_block == last.number + 1


async def test_an_empty_or_unreadable_list_wipes_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with publisher(settings, HELD) as publish, unlisted_system(settings) as system:
        await system.feed_blocks(1)
        await until_listed(settings, V2_POOLS[0])

        await publish([])
        await publish([{"address": "nonsense"}])

        await publish([*HELD, nested(NEW)], kind="add")
        await until_listed(settings, NEW)
        assert await latest(settings, V2_POOLS[0]) is not None
        assert caplog.text.count("the list stays as it is") == 2


async def test_the_list_is_published_again_at_start_with_its_first_blocks(settings: Settings) -> None:
    await list_pools(settings)
    async with publisher(settings, [nested(pool) for pool in V2_POOLS]), running_bridge(settings):
        async with asyncio.timeout(60):
            while len(said := [record for pool, record in await on_the_topic(settings) if pool == V2_POOLS[0]]) < 2:
                await asyncio.sleep(0.1)

    assert [record.from_block for record in said if record] == [0, 0]


async def test_a_v4_pool_counts_only_where_its_manager_is_known(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    manager = V3_POOLS[0]
    v4 = {"pool_id": SINGLETON_POOL, "fee": 3000, "tick_spacing": 60}
    async with (
        publisher(settings, [*HELD, nested(SINGLETON_POOL, "v4", **v4)]) as publish,
        unlisted_system(settings) as system,
    ):
        await system.feed_blocks(1)
        await until_listed(settings, V2_POOLS[0])
        assert await latest(settings, SINGLETON_POOL) is None
        assert f"pool {SINGLETON_POOL} has no known PoolManager" in caplog.text

        await publish([nested(SINGLETON_POOL, "v4", **v4, factory=manager)], kind="add")

        record = await until_listed(settings, SINGLETON_POOL)
        assert record is not None
        assert record.pool.factory == manager


async def test_a_listed_v4_pool_whose_manager_is_not_found_is_never_taken_off_the_topic(settings: Settings) -> None:
    v4 = PoolMetadata(SINGLETON_POOL, "v4", TOKENS[0], TOKENS[1], fee=3000, tick_spacing=60)
    async with bridge_system(settings, str(settings.rpc), listed_before=[*METADATA, v4]) as system:
        first, *_ = await system.feed_blocks(2)

        await system.assert_topic_is_chain(first.number)
        assert await latest(settings, SINGLETON_POOL) == Listed(v4, UNREAD)


async def test_a_listed_v4_pool_counts_from_a_new_block_once_its_manager_is_known(settings: Settings) -> None:
    v4 = PoolMetadata(SINGLETON_POOL, "v4", TOKENS[0], TOKENS[1], fee=3000, tick_spacing=60)
    metadata = {"pool_id": SINGLETON_POOL, "fee": 3000, "tick_spacing": 60, "factory": V3_POOLS[0]}
    async with (
        publisher(settings, [nested(SINGLETON_POOL, "v4", **metadata)]),
        bridge_system(settings, str(settings.rpc), listed_before=[v4]) as system,
    ):
        first, *_ = await system.feed_blocks(2)

        async with asyncio.timeout(60):
            while (record := await latest(settings, SINGLETON_POOL)) is None or record.from_block == UNREAD:
                await system.feed_blocks(1)
        assert record.from_block > first.number


async def test_unverified_a_new_pool_waits_for_the_feed_to_apply_the_list(settings: Settings) -> None:
    settings = settings.model_copy(update={"bridge_verify": False, "listing_margin": 5})
    async with publisher(settings, HELD), unlisted_system(settings) as system:
        first, *_ = await system.feed_blocks(1)
        record = await until_listed(settings, V2_POOLS[0])
        assert record is not None
        assert record.from_block == first.number + 6

        await system.feed_blocks(3)

        truth = await system.chain.blocks_from(first.number, V2_POOLS[:2])
        assert system.topic.blocks[-3:] == truth[-3:]
