import asyncio

import pytest

from protocols.v2 import Sync
from streams.exex.control_messages import EndBlock
from tests.support.bridge.bridge_harness import BridgeSystem
from tests.support.bridge.emitting_chain import V2_POOLS
from tests.support.bridge.scripted_feed import block_messages, reorg_messages

pytestmark = pytest.mark.servers


async def test_blocks_of_the_feed_are_on_the_topic_whole_and_in_order(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks(5)

    await system.assert_topic_is_chain(first.number)
    assert system.topic.reorgs == []
    assert system.topic.gaps == []


async def test_a_block_without_events_has_its_head_on_every_partition(system: BridgeSystem) -> None:
    first = await system.chain.mine()
    await system.feed.send_block(first, {})

    await system.topic.until_head(first)

    assert [part.blocks[0][0].updates for part in system.topic.partitions] == [0, 0, 0]


async def test_blocks_that_the_feed_skipped_come_from_the_node(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks(2)
    await system.chain.mine_busy(40)

    await system.feed_blocks()

    await system.assert_topic_is_chain(first.number)


async def test_lost_messages_cost_nothing(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks()
    begin, update, *rest = block_messages(
        header := await system.chain.mine(*system.chain.busy_events()), await system.chain.updates(header)
    )
    await system.feed.send(begin, update)
    system.feed.skip(1)
    await system.feed.send(*rest[1:])

    await system.feed_blocks()

    await system.assert_topic_is_chain(first.number)


async def test_a_wrong_count_costs_nothing(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks()
    header = await system.chain.mine(*system.chain.busy_events())
    *body, _ = block_messages(header, await system.chain.updates(header))
    await system.feed.send(*body, EndBlock(0, header.number, 99))

    await system.feed_blocks()

    await system.assert_topic_is_chain(first.number)


async def test_a_connection_that_ends_inside_a_block_costs_nothing(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks()
    header = await system.chain.mine(*system.chain.busy_events())
    begin, update, *_ = block_messages(header, await system.chain.updates(header))
    await system.feed.send(begin, update)
    system.feed.disconnect()

    await system.feed_blocks()

    await system.assert_topic_is_chain(first.number)


async def test_garbage_ends_the_connection_and_costs_nothing(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks()
    await system.feed.write(b"\xff" * 100)
    await asyncio.sleep(0.2)
    system.feed.disconnect()

    await system.feed_blocks()

    await system.assert_topic_is_chain(first.number)


async def test_a_feed_that_sends_a_wrong_update_does_not_reach_the_topic(
    system: BridgeSystem, caplog: pytest.LogCaptureFixture
) -> None:
    first, *_ = await system.feed_blocks()
    header = await system.chain.mine((V2_POOLS[0], Sync(5, 6)))
    await system.feed.send_block(header, {V2_POOLS[0]: (Sync(5, 7),)})

    await system.topic.until_head(header)

    await system.assert_topic_is_chain(first.number)
    assert f"feed and node differ on 1 pools, first on {V2_POOLS[0]} at its event 0" in caplog.text


async def test_a_feed_of_another_chain_does_not_reach_the_topic(
    system: BridgeSystem, caplog: pytest.LogCaptureFixture
) -> None:
    first, *_ = await system.feed_blocks()
    header = await system.chain.mine(*system.chain.busy_events())
    _, end = block_messages(header, {})
    begin, _ = block_messages(header.__class__(header.number, header.hash, header.parent, header.timestamp + 1, 1), {})
    await system.feed.send(begin, end)

    await system.topic.until_head(header)

    await system.assert_topic_is_chain(first.number)
    assert "the node's block is published" in caplog.text


async def test_a_reorg_of_the_feed_is_followed(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks(3)
    fork = await system.chain.snapshot()
    old = [(header, await system.chain.updates(header)) for header in await system.feed_blocks(3)]
    await system.chain.revert(fork)
    new = [(header, await system.chain.updates(header)) for header in await system.chain.mine_busy(4)]

    await system.feed.send(*reorg_messages(old, new))

    await system.topic.until_head(new[-1][0])
    await system.assert_topic_is_chain(first.number)
    assert system.topic.reorgs == [old[0][0].number - 1]


async def test_a_reorg_that_the_feed_did_not_send_is_found_by_the_parent(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks(3)
    fork = await system.chain.snapshot()
    await system.feed_blocks(3)
    await system.chain.revert(fork)
    await system.chain.mine_busy(3)

    await system.feed_blocks()

    await system.assert_topic_is_chain(first.number)
    assert system.topic.reorgs == [first.number + 2]


async def test_a_chain_that_got_shorter_is_rewound_though_nothing_takes_its_place(system: BridgeSystem) -> None:
    first, _, third = await system.feed_blocks(3)
    fork = await system.chain.snapshot()
    old = [(header, await system.chain.updates(header)) for header in await system.feed_blocks(2)]
    await system.chain.revert(fork)

    await system.feed.send(*reorg_messages(old, []))

    await system.topic.until_head(third)
    await system.assert_topic_is_chain(first.number)


async def test_a_feed_started_again_on_another_fork_behind_what_it_sent_is_followed(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks(2)
    fork = await system.chain.snapshot()
    await system.feed_blocks(4)
    await system.feed.stop()
    await system.chain.revert(fork)
    await system.feed.start()

    await system.feed_blocks(2)

    await system.assert_topic_is_chain(first.number)


async def test_joining_in_the_second_half_of_a_reorg_is_healed(system: BridgeSystem) -> None:
    first, *_ = await system.feed_blocks(2)
    fork = await system.chain.snapshot()
    old = [(header, await system.chain.updates(header)) for header in await system.feed_blocks(3)]
    await system.chain.revert(fork)
    new = [(header, await system.chain.updates(header)) for header in await system.chain.mine_busy(4)]
    system.feed.disconnect()
    messages = reorg_messages(old, new)

    await system.feed.send(*messages[messages.index(block_messages(*new[2])[0]) :])

    await system.topic.until_head(new[-1][0])
    await system.assert_topic_is_chain(first.number)


async def test_siblings_with_the_same_time_and_base_fee_are_distinguished(system: BridgeSystem) -> None:
    first, _ = await system.feed_blocks(2)
    fork = await system.chain.snapshot()
    old = await system.chain.mine((V2_POOLS[0], Sync(1, 1)))
    updates = await system.chain.updates(old)
    await system.chain.revert(fork)
    new = await system.chain.mine((V2_POOLS[0], Sync(2, 2)), like=old)
    assert (old.number, old.timestamp, old.base_fee) == (new.number, new.timestamp, new.base_fee)
    assert old.hash != new.hash

    await system.feed.send_block(old, updates)

    await system.topic.until_head(new)
    await system.assert_topic_is_chain(first.number)
    assert system.topic.blocks[-1] == (new.hash, {V2_POOLS[0]: (Sync(2, 2),)})
