"""The demo's chain and the reference reader on a real EVM: what the system is compared with must itself be right."""

from collections.abc import Callable

import pytest

from lab.devnet.chain.world import ReorgKind, World
from lab.devnet.reference.reader import Truth, field_differences, tick_differences

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]


@pytest.fixture
def world(anvil: Callable[..., str]) -> World:
    return World(anvil(), seed=1)


def test_there_are_enough_pools_of_every_kind_and_all_have_liquidity(world: World) -> None:
    truths = world.reference.truths(world.pools, world.chain.tip.hash)

    counts = {name: sum(pool.protocol == name for pool in world.pools) for name in ("v2", "v3", "v4")}
    assert counts == {"v2": 3, "v3": 5, "v4": 5}
    assert {pool.tick_spacing for pool in world.pools if pool.protocol == "v3"} == {1, 10, 50, 60, 200}
    assert all(
        truth.fields["reserve0"] > 0 if "reserve0" in truth.fields else truth.fields["liquidity"] > 0
        for truth in truths.values()
    )


def test_all_ticks_are_found_because_their_nets_add_up(world: World) -> None:
    for _ in range(30):
        world.mine()

    for truth in world.reference.truths(world.pools, world.chain.tip.hash).values():
        assert sum(net for _, _, net in truth.ticks) == 0
        if truth.ticks:
            active = sum(net for tick, _, net in truth.ticks if tick <= truth.fields["tick"])
            assert active == truth.fields["liquidity"]


def test_most_transactions_do_what_they_set_out_to_do(world: World) -> None:
    first = world.chain.tip.number + 1
    for _ in range(40):
        world.mine()

    receipts = [
        receipt
        for number in range(first, world.chain.tip.number + 1)
        for receipt in world.chain.rpc.call("eth_getBlockReceipts", hex(number))
    ]
    assert len(receipts) >= 40 * 8
    assert sum(receipt["status"] == "0x1" for receipt in receipts) > 0.9 * len(receipts)


@pytest.mark.parametrize("kind", ["rewound", "replaced"])
def test_a_reorg_leaves_the_ancestor_and_replaces_every_block_after_it(world: World, kind: ReorgKind) -> None:
    hashes: dict[int, str] = {world.chain.tip.number: world.chain.tip.hash}
    for _ in range(10):
        block = world.mine()
        hashes[block.number] = block.hash
    old_tip = world.chain.tip
    before = world.reference.truths(world.pools, hashes[old_tip.number - 7])

    world.reorg(7, kind=kind)

    assert world.chain.tip.number == old_tip.number + 1
    now = {number: _hash(world, number) for number in hashes}
    assert [number for number in hashes if now[number] != hashes[number]] == list(
        range(old_tip.number - 6, old_tip.number + 1)
    )
    assert world.reference.truths(world.pools, hashes[old_tip.number - 7]) == before
    assert world.chain.rpc.call("eth_getBlockByHash", old_tip.hash, False) is None


def test_a_reorg_can_lead_to_other_states_and_to_a_shorter_chain(world: World) -> None:
    for _ in range(6):
        world.mine()
    old_tip = world.chain.tip
    old = world.reference.truths(world.pools, old_tip.hash)

    world.reorg(5, longer_by=-2)

    assert world.chain.tip.number == old_tip.number - 2
    assert world.reference.truths(world.pools, world.chain.tip.hash) != old


def test_the_comparison_names_every_difference() -> None:
    truth = Truth({"sqrt_price_x96": 10, "tick": -1, "liquidity": 2**100}, ((-10, 5, 5), (10, 5, -5)))
    ticks = [
        {"tick": -10, "liquidity_gross": "5", "liquidity_net": "5"},
        {"tick": 10, "liquidity_gross": "5", "liquidity_net": "-5"},
    ]
    served = {"sqrt_price_x96": "10", "tick": -1, "liquidity": str(2**100)}

    assert field_differences(served, truth) == []
    assert len(field_differences({**served, "liquidity": str(2**100 - 1)}, truth)) == 1
    assert len(field_differences({"sqrt_price_x96": "10", "tick": -1}, truth)) == 1
    assert tick_differences(ticks, truth) == []
    assert len(tick_differences(ticks[:1], truth)) == 1
    assert len(tick_differences([{**ticks[0], "liquidity_net": "4"}, ticks[1]], truth)) == 2
    assert tick_differences(list(reversed(ticks)), truth) == ["the ticks are not ascending"]


def _hash(world: World, number: int) -> str:
    return str(world.chain.rpc.call("eth_getBlockByNumber", hex(number), False)["hash"])


def test_a_pool_created_in_reverted_blocks_is_gone_and_can_be_created_again_at_another_price(world: World) -> None:
    world.mine()
    late = world.create_late()
    block = world.mine()

    gone = world.reorg(5)
    again = world.create_late(at_tick=-5000)

    assert gone == [late]
    assert again == late
    assert world.archive[block.hash][late.id]["tick"] > 0
    assert world.reference.truth(again, world.chain.tip.hash).fields["tick"] < 0
