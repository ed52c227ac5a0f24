import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from protocols.events import Sync
from settings import Settings
from streams.exex.control import EndBlock
from tests.support.bridge_harness import V2_POOLS, Stage, stage, told, told_reorg

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(kafka: str, nats: str, chain_name: str, tmp_path: Path, anvil: Callable[..., str]) -> Settings:
    return Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=anvil(),
        exex_socket=tmp_path / "exex.sock",
        partitions=3,
        bridge_patience_s=2,
        bridge_silence_s=60,
    )


@pytest.fixture
async def on(settings: Settings) -> AsyncIterator[Stage]:
    async with stage(settings, settings.rpc) as staged:
        yield staged


async def test_blocks_told_by_the_feed_are_on_the_topic_whole_and_in_order(on: Stage) -> None:
    first, *_ = await on.live(5)

    await on.right(first.number)
    assert on.topic.reorgs == []
    assert on.topic.gaps == []


async def test_a_block_without_events_has_its_head_on_every_partition(on: Stage) -> None:
    first = await on.chain.mine()
    await on.feed.tell(first, {})

    await on.topic.until(first)

    assert [part.blocks[0][0].updates for part in on.topic.partitions] == [0, 0, 0]


async def test_blocks_that_the_feed_skipped_come_from_the_node(on: Stage) -> None:
    first, *_ = await on.live(2)
    await on.chain.busy(40)

    await on.live()

    await on.right(first.number)


async def test_lost_messages_cost_nothing(on: Stage) -> None:
    first, *_ = await on.live()
    begin, update, *rest = told(header := await on.chain.mine(*on.chain.some()), await on.chain.updates(header))
    await on.feed.say(begin, update)
    on.feed.lose(1)
    await on.feed.say(*rest[1:])

    await on.live()

    await on.right(first.number)


async def test_a_wrong_count_costs_nothing(on: Stage) -> None:
    first, *_ = await on.live()
    header = await on.chain.mine(*on.chain.some())
    *body, _ = told(header, await on.chain.updates(header))
    await on.feed.say(*body, EndBlock(0, header.number, 99))

    await on.live()

    await on.right(first.number)


async def test_a_connection_that_ends_inside_a_block_costs_nothing(on: Stage) -> None:
    first, *_ = await on.live()
    header = await on.chain.mine(*on.chain.some())
    begin, update, *_ = told(header, await on.chain.updates(header))
    await on.feed.say(begin, update)
    on.feed.hang_up()

    await on.live()

    await on.right(first.number)


async def test_garbage_ends_the_connection_and_costs_nothing(on: Stage) -> None:
    first, *_ = await on.live()
    await on.feed.write(b"\xff" * 100)
    await asyncio.sleep(0.2)
    on.feed.hang_up()

    await on.live()

    await on.right(first.number)


async def test_a_feed_that_lies_about_an_update_is_not_believed(on: Stage, caplog: pytest.LogCaptureFixture) -> None:
    first, *_ = await on.live()
    header = await on.chain.mine((V2_POOLS[0], Sync(5, 6)))
    await on.feed.tell(header, {V2_POOLS[0]: (Sync(5, 7),)})

    await on.topic.until(header)

    await on.right(first.number)
    assert f"feed and node differ on 1 pools, first on {V2_POOLS[0]} at its event 0" in caplog.text


async def test_a_feed_of_another_chain_is_not_believed(on: Stage, caplog: pytest.LogCaptureFixture) -> None:
    first, *_ = await on.live()
    header = await on.chain.mine(*on.chain.some())
    _, end = told(header, {})
    begin, _ = told(header.__class__(header.number, header.hash, header.parent, header.timestamp + 1, 1), {})
    await on.feed.say(begin, end)

    await on.topic.until(header)

    await on.right(first.number)
    assert "the node's block is published" in caplog.text


async def test_a_reorg_told_by_the_feed_is_followed(on: Stage) -> None:
    first, *_ = await on.live(3)
    fork = await on.chain.snapshot()
    old = [(header, await on.chain.updates(header)) for header in await on.live(3)]
    await on.chain.revert(fork)
    new = [(header, await on.chain.updates(header)) for header in await on.chain.busy(4)]

    await on.feed.say(*told_reorg(old, new))

    await on.topic.until(new[-1][0])
    await on.right(first.number)
    assert on.topic.reorgs == [old[0][0].number - 1]


async def test_a_reorg_that_the_feed_did_not_tell_is_found_by_the_parent(on: Stage) -> None:
    first, *_ = await on.live(3)
    fork = await on.chain.snapshot()
    await on.live(3)
    await on.chain.revert(fork)
    await on.chain.busy(3)

    await on.live()

    await on.right(first.number)
    assert on.topic.reorgs == [first.number + 2]


async def test_a_chain_that_got_shorter_is_rewound_though_nothing_takes_its_place(on: Stage) -> None:
    first, _, third = await on.live(3)
    fork = await on.chain.snapshot()
    old = [(header, await on.chain.updates(header)) for header in await on.live(2)]
    await on.chain.revert(fork)

    await on.feed.say(*told_reorg(old, []))

    await on.topic.until(third)
    await on.right(first.number)


async def test_a_feed_started_again_on_another_fork_behind_what_it_sent_is_followed(on: Stage) -> None:
    first, *_ = await on.live(2)
    fork = await on.chain.snapshot()
    await on.live(4)
    await on.feed.stop()
    await on.chain.revert(fork)
    await on.feed.start()

    await on.live(2)

    await on.right(first.number)


async def test_joining_in_the_second_half_of_a_reorg_is_healed(on: Stage) -> None:
    first, *_ = await on.live(2)
    fork = await on.chain.snapshot()
    old = [(header, await on.chain.updates(header)) for header in await on.live(3)]
    await on.chain.revert(fork)
    new = [(header, await on.chain.updates(header)) for header in await on.chain.busy(4)]
    on.feed.hang_up()
    messages = told_reorg(old, new)

    await on.feed.say(*messages[messages.index(told(*new[2])[0]) :])

    await on.topic.until(new[-1][0])
    await on.right(first.number)


async def test_siblings_with_the_same_time_and_base_fee_are_told_apart(on: Stage) -> None:
    first, _ = await on.live(2)
    fork = await on.chain.snapshot()
    old = await on.chain.mine((V2_POOLS[0], Sync(1, 1)))
    updates = await on.chain.updates(old)
    await on.chain.revert(fork)
    new = await on.chain.mine((V2_POOLS[0], Sync(2, 2)), like=old)
    assert (old.number, old.timestamp, old.base_fee) == (new.number, new.timestamp, new.base_fee)
    assert old.hash != new.hash

    await on.feed.tell(old, updates)

    await on.topic.until(new)
    await on.right(first.number)
    assert on.topic.blocks[-1] == (new.hash, {V2_POOLS[0]: (Sync(2, 2),)})
