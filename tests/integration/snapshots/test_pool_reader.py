"""Whole states read from a real EVM with the real contracts, compared with their own getters and with what was done."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from eth_typing import ABIFunction
from msgspec.structs import replace

from lab.devnet.chain.blocks import TRADER, Chain, Transaction
from lab.devnet.chain.contracts import NATIVE, V4_KEY, Contracts, Pool, create_v2, create_v3, create_v4, first_pools
from lab.devnet.chain.evm import Rpc, calldata, signed, words
from lab.devnet.servers import start as servers
from protocols import v2, v3, v4
from protocols.abi import call_data, function_abi
from protocols.registry import State
from protocols.storage import Slots, mapping_slot, tick_of
from protocols.ticks import Tick
from protocols.types import Block, PoolId, PoolMetadata, Token
from protocols.v2 import V2State
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.node.client import Node, connect
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.state.capabilities import MAX_MULTICALL_CALLS, NodeCapabilities
from streams.node.state.pinned_state import BlockGone, PinnedState, StateUnavailable
from streams.node.state.probe import probe_capabilities
from streams.snapshots.assembler import assemble
from streams.snapshots.bitmap_calls import read_tick_bitmaps
from streams.snapshots.contract_checks import (
    NoState,
    PoolStorage,
    ReadFailed,
)
from streams.snapshots.multicall import multicall
from streams.snapshots.pool_reader import Outcome, Phase, read_pools
from streams.snapshots.programs import CALL_BYTES
from streams.snapshots.storage_slots import read_slots
from tests.support.rpc_proxy import (
    Call,
    both,
    error,
    gas_cap,
    ignore_block_hashes,
    ignore_blocks,
    ignore_overrides,
    is_asking,
    proxied,
    refuse_block_hashes,
    refuse_overrides,
)

pytestmark = pytest.mark.servers

HIGHEST_TICK = 887272


class World(msgspec.Struct):
    rpc: Rpc
    chain: Chain
    contracts: Contracts
    pools: list[Pool]
    ticks: dict[PoolId, dict[int, tuple[int, int]]]
    """Gross and net, as the positions that were made add up to them."""
    block: Block


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with servers.anvil() as url:
        rpc = Rpc(url)
        chain = Chain(rpc)
        contracts = Contracts.deployed(chain)
        t0, _, _, t3 = contracts.tokens
        pools = first_pools(chain, contracts)
        pools.append(create_v4(chain, contracts.manager, (t0, t3, 100, 32767, NATIVE), at_tick=0))
        world = World(rpc, chain, contracts, pools, {}, Block(0, ""))
        for pool in pools:
            _add_liquidity(world, pool)
        _swap(world, next(pool for pool in pools if pool.protocol == "v3"))
        world.block = Block(chain.tip.number, chain.tip.hash)
        yield world


def _add_liquidity(world: World, pool: Pool) -> None:
    if pool.protocol == "v2":
        sends = [
            Transaction(t, calldata("transfer(address,uint256)", pool.id, n))
            for t, n in ((pool.token0, 10**20 + 7), (pool.token1, 3 * 10**19 + 1))
        ]
        world.chain.succeed([*sends, Transaction(pool.id, calldata("mint(address)", TRADER))])
        return
    changes = []
    for lower, upper, delta in _positions(pool):
        changes.append(_change(world, pool, lower, upper, delta))
        _note(world, pool, lower, upper, delta)
    world.chain.succeed(changes)


def _positions(pool: Pool) -> list[tuple[int, int, int]]:
    """The full range, the outermost ticks, any others, two that share a tick, and one that is made and burnt."""
    spacing, chance = pool.tick_spacing, random.Random(pool.id)
    last = HIGHEST_TICK // spacing
    places = [(-last, last), (-last, -last + 1), (last - 1, last)]
    places += [tuple(sorted(chance.sample(range(-last, last + 1), 2))) for _ in range(12)]  # type: ignore[misc]
    places += [(1 - last, 3), (3, last)] if last > 4 else []
    made = [(lower * spacing, upper * spacing, chance.randrange(10**6, 10**15)) for lower, upper in places]
    first = made[3]
    return [*made, (first[0], first[1], -first[2])]


def _change(world: World, pool: Pool, lower: int, upper: int, delta: int) -> Transaction:
    if pool.protocol == "v3" and delta < 0:
        return Transaction(pool.id, calldata("burn(int24,int24,uint128)", lower, upper, -delta))
    if pool.protocol == "v3":
        data = calldata("mint(address,int24,int24,uint128,bytes)", TRADER, lower, upper, delta, b"")
        return Transaction(pool.id, data)
    signature = f"modifyLiquidity({V4_KEY},(int24,int24,int256,bytes32),bytes)"
    data = calldata(signature, pool.key, (lower, upper, delta, bytes(32)), b"")
    return Transaction(world.contracts.v4_modifier, data, 10**30 if pool.token0 == NATIVE and delta > 0 else 0)


def _note(world: World, pool: Pool, lower: int, upper: int, delta: int) -> None:
    ticks = world.ticks.setdefault(pool.id, {})
    for tick, net in ((lower, delta), (upper, -delta)):
        gross, before = ticks.pop(tick, (0, 0))
        if gross + delta:
            ticks[tick] = (gross + delta, before + net)


def _swap(world: World, pool: Pool) -> None:
    signature = "swap(address,bool,int256,uint160,bytes)"
    world.chain.succeed([Transaction(pool.id, calldata(signature, TRADER, True, 10**9, 4295128740, b""))])


def listed(pool: Pool, **changes: object) -> PoolMetadata:
    return replace(pool.metadata, **changes)


def of(world: World, protocol: str) -> list[Pool]:
    return [pool for pool in world.pools if pool.protocol == protocol]


@asynccontextmanager
async def node_of(world: World) -> AsyncIterator[Node]:
    async with connect(world.rpc.url) as node:
        yield node


async def read(
    node: Node,
    block: Block,
    pools: list[PoolMetadata],
    capabilities: NodeCapabilities | None = None,
    phase: Phase = "full_ticks",
) -> dict[PoolId, Outcome]:
    pinned = PinnedState(node, block, capabilities or await probe_capabilities(node, block))
    outcomes: dict[PoolId, Outcome] = {}
    for protocol in ("v2", "v3", "v4"):
        of_protocol = [pool for pool in pools if pool.protocol == protocol]
        if of_protocol:
            outcomes |= await read_pools(pinned, of_protocol, {pool.id: pool.factory for pool in pools}, phase)
    return outcomes


def asked(world: World, to: str, signature: str, *arguments: object) -> list[int]:
    data = calldata(signature, *arguments)
    return words(world.rpc.call("eth_call", {"to": to, "data": data}, {"blockHash": world.block.hash}))


def chains_own(world: World, pool: Pool) -> State:
    """By the contracts' getters, one by one; a V4 pool's storage by PoolManager.extsload(bytes32)."""
    if pool.protocol == "v2":
        return V2State(*asked(world, pool.id, "getReserves()")[:2])
    ticks = tuple(_tick(world, pool, tick) for tick in sorted(world.ticks[pool.id]))
    if pool.protocol == "v3":
        price, tick, *_ = asked(world, pool.id, "slot0()")
        return V3State(price, signed(tick, 24), asked(world, pool.id, "liquidity()")[0], ticks)
    slots = v4.slots_of(pool.id)
    slot0, liquidity = (_extsload(world, pool, slot) for slot in (slots.price, slots.liquidity))
    price, tick = slot0 & ((1 << 160) - 1), signed(slot0 >> 160, 24)
    return V4State(price, tick, liquidity, ticks, slot0 >> 208, slot0 >> 184 & 0xFFFFFF)


def _tick(world: World, pool: Pool, tick: int) -> Tick:
    if pool.protocol == "v3":
        gross, net, *_ = asked(world, pool.id, "ticks(int24)", tick)
        return Tick(tick, gross, signed(net, 128))
    return tick_of(tick, _extsload(world, pool, mapping_slot(tick, v4.slots_of(pool.id).ticks)))


def _extsload(world: World, pool: Pool, slot: int) -> int:
    return asked(world, pool.address, "extsload(bytes32)", slot.to_bytes(32, "big"))[0]


async def test_every_field_of_every_pool_is_the_chains(world: World) -> None:
    async with node_of(world) as node:
        states = await read(node, world.block, [listed(pool) for pool in world.pools])

    assert states == {pool.id: chains_own(world, pool) for pool in world.pools}
    assert {pool.tick_spacing for pool in world.pools} == {0, 1, 10, 50, 60, 200, 32767}


async def test_the_reserves_are_those_of_slot_8(world: World) -> None:
    pools = of(world, "v2")
    async with node_of(world) as node:
        states = await read(node, world.block, [listed(pool) for pool in pools])

    for pool in pools:
        word = int(world.rpc.call("eth_getStorageAt", pool.id, "0x8", {"blockHash": world.block.hash}), 16)
        assert states[pool.id] == V2State(word & ((1 << 112) - 1), word >> 112 & ((1 << 112) - 1))


async def test_the_ticks_are_those_of_the_positions_made(world: World) -> None:
    pools = [pool for pool in world.pools if pool.protocol != "v2"]
    async with node_of(world) as node:
        states = await read(node, world.block, [listed(pool) for pool in pools])

    for pool in pools:
        state = states[pool.id]
        assert isinstance(state, V3State | V4State)
        assert {tick.tick: (tick.liquidity_gross, tick.liquidity_net) for tick in state.ticks} == world.ticks[pool.id]
        assert [tick.tick for tick in state.ticks] == sorted(world.ticks[pool.id])
        assert state.ticks[0].tick == -(HIGHEST_TICK // pool.tick_spacing * pool.tick_spacing)


async def test_fees_of_v4_are_read_and_those_of_v3_do_not_disturb(world: World) -> None:
    async with node_of(world) as node:
        states = await read(node, world.block, [listed(pool) for pool in world.pools])

    fees = {
        (pool.fee, state.lp_fee, state.protocol_fee)
        for pool in world.pools
        if isinstance(state := states[pool.id], V4State)
    }
    assert {(3000, 3000, (700 << 12) | 900), (0x800000, 4321, 0), (500, 500, 0)} <= fees


MODES = [
    pytest.param(refuse_overrides, False, True, id="overrides refused"),
    pytest.param(ignore_overrides, False, True, id="overrides ignored"),
    pytest.param(refuse_block_hashes, True, False, id="block hashes refused"),
    pytest.param(ignore_block_hashes, True, False, id="block hashes ignored"),
    pytest.param(both(refuse_overrides, refuse_block_hashes), False, False, id="both refused"),
]


@pytest.mark.parametrize(("rule", "overrides", "by_hash"), MODES)
async def test_a_node_that_refuses_gives_the_same_states(world: World, rule, overrides: bool, by_hash: bool) -> None:  # type: ignore[no-untyped-def]
    pools = [listed(pool) for pool in world.pools]
    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        capabilities = await probe_capabilities(node, world.block)
        states = await read(node, world.block, pools, capabilities)

    assert (capabilities.overrides, capabilities.by_hash) == (overrides, by_hash)
    async with node_of(world) as node:
        assert states == await read(node, world.block, pools)


@pytest.mark.parametrize(
    ("rule", "overrides", "by_hash"), [pytest.param(None, True, True, id="nothing refused"), *MODES]
)
async def test_filtering_reads_all_but_the_ticks(world: World, rule, overrides: bool, by_hash: bool) -> None:  # type: ignore[no-untyped-def]
    pools = [listed(pool) for pool in world.pools]
    async with proxied(world.rpc.url, rule or (lambda _: None)) as proxy, connect(proxy.url) as node:
        states = await read(node, world.block, pools, phase="filtering")

    for pool in world.pools:
        whole = chains_own(world, pool)
        assert states[pool.id] == (whole if isinstance(whole, V2State) else replace(whole, ticks=()))


async def test_filtering_ends_when_the_program_never_runs(world: World) -> None:
    pools = of(world, "v4")

    def rule(call: Call) -> Call | None:
        is_program = call["method"] == "eth_call" and any("code" in each for each in _overridden(call))
        return error("execution timeout") if is_program and len(call["params"][0]["data"]) > 100 else None

    async with node_of(world) as node:
        capabilities = await probe_capabilities(node, world.block)
    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        states = await read(node, world.block, [listed(pool) for pool in pools], capabilities, "filtering")

    assert {pool: type(state) for pool, state in states.items()} == {pool.id: ReadFailed for pool in pools}


def _overridden(call: Call) -> list[Call]:
    return list(call["params"][2].values()) if len(call["params"]) > 2 else []


async def test_a_gas_cap_makes_the_ranges_smaller(world: World) -> None:
    pools = [listed(pool) for pool in world.pools if pool.protocol != "v2"]
    async with proxied(world.rpc.url, gas_cap(1_500_000)) as proxy, connect(proxy.url) as node:
        capabilities = await probe_capabilities(node, world.block)
        states = await read(node, world.block, pools, capabilities)

    assert capabilities.overrides
    assert 64 <= capabilities.words_per_call < 1000
    async with node_of(world) as node:
        assert states == await read(node, world.block, pools)


async def test_what_worked_is_remembered(world: World) -> None:
    pools = [listed(of(world, "v3")[0])]
    async with proxied(world.rpc.url, gas_cap(1_500_000)) as proxy, connect(proxy.url) as node:
        capabilities = await probe_capabilities(node, world.block)
        await read(node, world.block, pools, capabilities)
        first = len(proxy.batches)
        await read(node, world.block, pools, capabilities)

    assert len(proxy.batches) - first < first


async def test_a_limit_of_calls_makes_the_batches_smaller(world: World) -> None:
    pools = [listed(pool) for pool in world.pools]
    async with proxied(world.rpc.url, refuse_overrides, largest_batch=10) as proxy, connect(proxy.url) as node:
        capabilities = await probe_capabilities(node, world.block)
        states = await read(node, world.block, pools, capabilities)

    assert capabilities.batch_calls <= 10
    assert max(proxy.batches[-50:]) <= 10
    async with node_of(world) as node:
        assert states == await read(node, world.block, pools)


@pytest.mark.parametrize(
    ("together", "what"), [(True, "bitmap word 344 of {}"), (False, "{} was asked for tickSpacing()")]
)
async def test_an_error_for_one_pool_is_that_pools_alone(world: World, together: bool, what: str) -> None:
    """`together`: the node answers the questions to many contracts in one call."""
    pools = of(world, "v3")

    def rule(call: Call) -> Call | None:
        is_refused = is_asking(call) and not together
        is_its_own = call["method"] == "eth_call" and call["params"][0]["to"] == pools[1].id
        return error("internal error", -32603) if is_refused or is_its_own else None

    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        capabilities = NodeCapabilities(overrides=True, by_hash=True)
        states = await read(node, world.block, [listed(pool) for pool in pools], capabilities)

    assert states.pop(pools[1].id) == ReadFailed(f"{what.format(pools[1].id)}: internal error (code -32603)")
    assert (capabilities.multicall_calls == MAX_MULTICALL_CALLS) == together
    assert states == {pool.id: chains_own(world, pool) for pool in pools if pool != pools[1]}


async def test_questions_to_many_contracts_have_the_answers_that_each_gives_alone(world: World) -> None:
    """Pools, a manager, accounts without code, getters that are not there, and a reply that is too long."""
    words = [bytes(3) + bytes([number]) for number in range(3)]
    getters = [
        selector(v2.GET_RESERVES),
        selector(v3.TICK_SPACING),
        selector(v3.LIQUIDITY),
        bytes.fromhex("95d89b41"),
        bytes.fromhex("3850c7bd"),
        *words,
    ]
    addresses = [pool.address for pool in world.pools] + [world.contracts.tokens[0], "0x" + "de" * 20]
    slots = [call_data(function_abi(v4.EXTSLOAD), (slot,)) for slot in range(3)]
    questions = [(address, data) for address in addresses for data in [*getters, *slots]]
    async with node_of(world) as node:
        together = await multicall(
            PinnedState(node, world.block, NodeCapabilities(overrides=True, by_hash=True)), questions
        )
        few = await multicall(
            PinnedState(node, world.block, NodeCapabilities(overrides=True, by_hash=True, multicall_calls=7)), questions
        )
        alone = await multicall(
            PinnedState(node, world.block, NodeCapabilities(overrides=False, by_hash=True)), questions
        )

    assert list(map(str, together)) == list(map(str, few)) == list(map(str, alone))
    assert any(isinstance(each, RpcError) for each in together)
    assert any(isinstance(each, str) and len(each) > 2 + 2 * 96 for each in together)


async def test_what_runs_out_of_gas_among_others_is_no_failure_of_the_contract(world: World) -> None:
    """A getter that needs more than the cap leaves to the last in the program; the steps are smaller than its need."""
    greedy = "0x" + "67" * 20
    loads = " ".join(f"PUSH {slot} SLOAD POP" for slot in range(8))
    code = assemble(f"{loads} PUSH 0x07 PUSH 0x00 MSTORE PUSH 0x20 PUSH 0x00 RETURN")
    world.rpc.call("anvil_setCode", greedy, "0x" + code.hex())
    tip = world.chain.mine()
    questions = [(of(world, "v3")[0].address, selector(v3.TICK_SPACING)), (greedy, selector(v3.LIQUIDITY))]
    for gas in range(25_000, 55_000, 2_000):

        def rule(call: Call, gas: int = gas) -> None:
            if is_asking(call):
                call["params"][0]["gas"] = hex(gas)

        async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
            pinned = PinnedState(node, Block(tip.number, tip.hash), NodeCapabilities(overrides=True, by_hash=True))
            said = await multicall(pinned, questions)
        assert said[1] == "0x" + (7).to_bytes(32, "big").hex(), gas


async def test_a_node_that_takes_few_questions_at_once_gets_fewer(world: World) -> None:
    def rule(call: Call) -> Call | None:
        is_too_much = is_asking(call) and len(call["params"][0]["data"]) > 2 + 2 * CALL_BYTES * 4
        return error("out of gas") if is_too_much else None

    pools = [listed(pool) for pool in of(world, "v3")]
    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        capabilities = NodeCapabilities(overrides=True, by_hash=True, multicall_calls=8)
        first = await read(node, world.block, pools, capabilities)
        then = await read(node, world.block, pools, capabilities)

    assert capabilities.multicall_calls < 8
    assert first == then == {pool.id: chains_own(world, pool) for pool in of(world, "v3")}


async def test_a_program_that_never_runs_is_a_failure_of_that_pool_alone(world: World) -> None:
    pools = of(world, "v3")

    def rule(call: Call) -> Call | None:
        overridden = call["params"][2] if call["method"] == "eth_call" and len(call["params"]) > 2 else {}
        return error("execution timeout") if pools[1].id in overridden else None

    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        states = await read(node, world.block, [listed(pool) for pool in pools])

    failed = states.pop(pools[1].id)
    assert isinstance(failed, ReadFailed)
    assert "execution timeout" in failed.reason
    assert states == {pool.id: chains_own(world, pool) for pool in pools if pool != pools[1]}


async def test_pools_without_liquidity_and_without_price(world: World) -> None:
    chain, contracts = world.chain, world.contracts
    _, t1, t2, t3 = contracts.tokens
    empty = [
        create_v2(chain, contracts, t2, t3),
        create_v3(chain, contracts.v3_factory, (t2, t3), 500, at_tick=-100),
        create_v3(chain, contracts.pancake_factory, (t2, t3), 500, at_tick=-100),
        create_v4(chain, contracts.manager, (t2, t3, 500, 10, NATIVE), at_tick=-100),
    ]
    unborn = []
    for factory in (contracts.v3_factory, contracts.pancake_factory):
        chain.succeed([Transaction(factory, calldata("createPool(address,address,uint24)", t1, t2, 500))])
        found = world.rpc.call(
            "eth_call", {"to": factory, "data": calldata("getPool(address,address,uint24)", t1, t2, 500)}, "latest"
        )
        unborn.append(listed(empty[1], id=PoolId("0x" + found[-40:])))
    unborn.append(listed(empty[3], id=PoolId("0x" + "5e" * 32)))
    block = Block(chain.tip.number, chain.tip.hash)

    async with node_of(world) as node:
        states = await read(node, block, [*map(listed, empty), *unborn])

    price = 78833030112140176575862854579
    assert list(states.values()) == [
        V2State(0, 0),
        V3State(price, -100, 0, ()),
        V3State(price, -100, 0, ()),
        V3State(0, 0, 0, ()),
        V3State(0, 0, 0, ()),
        V4State(price, -100, 0, (), 500, 0),
        V4State(0, 0, 0, (), 0, 0),
    ]


async def test_what_is_no_pool_has_no_state_but_a_reason(world: World) -> None:
    v2, v3, v4 = (of(world, protocol)[0] for protocol in ("v2", "v3", "v4"))
    nowhere, token = PoolId("0x" + "77" * 20), PoolId(world.contracts.tokens[0])
    wrong = {
        "there is no contract at": [
            listed(v2, id=nowhere),
            listed(v3, id=PoolId("0x" + "78" * 20)),
            listed(v4, id=PoolId("0x" + "01" * 32), factory=nowhere),
        ],
        "is no such pool": [
            listed(v2, id=token),
            listed(v3, id=PoolId(world.contracts.tokens[1])),
            listed(v4, id=PoolId("0x" + "02" * 32), factory=token),
        ],
        "asked for getReserves()": [listed(v2, id=v3.id)],
        "asked for tickSpacing()": [listed(v3, id=v2.id)],
        "the list says tick spacing 7, the contract says": [listed(of(world, "v3")[1], tick_spacing=7)],
        "the list says no tick spacing": [listed(v4, id=PoolId("0x" + "03" * 32), tick_spacing=None)],
        "the list says tick spacing 0": [listed(v4, id=PoolId("0x" + "04" * 32), tick_spacing=0)],
        "no PoolManager is known": [
            listed(v4, id=PoolId("0x" + "05" * 32), factory=None),
            listed(v4, id=PoolId("0x" + "06" * 32), factory="nonsense"),
        ],
        "is no id of a": [
            listed(v2, id=PoolId("0x12")),
            listed(v3, id=PoolId("pool")),
            listed(v4, id=PoolId("0x" + "zz" * 32)),
        ],
        "what is in storage is no pool's": [
            listed(of(world, "v4")[1], tick_spacing=of(world, "v4")[1].tick_spacing * 3)
        ],
    }

    async with node_of(world) as node:
        states = await read(node, world.block, [pool for pools in wrong.values() for pool in pools])

    for reason, pools in wrong.items():
        for pool in pools:
            outcome = states[pool.id]
            assert isinstance(outcome, NoState), (reason, outcome)
            assert reason in outcome.reason


async def test_the_state_is_that_of_the_block_asked_for(world: World) -> None:
    pool = of(world, "v3")[3]
    chain = world.chain
    before = Block(chain.tip.number, chain.tip.hash)
    async with node_of(world) as node:
        first = await read(node, before, [listed(pool)])
        chain.succeed([_change(world, pool, -pool.tick_spacing, pool.tick_spacing, 10**9)])

        for capabilities in (
            NodeCapabilities(overrides=True, by_hash=True),
            NodeCapabilities(overrides=False, by_hash=False),
        ):
            assert await read(node, before, [listed(pool)], capabilities) == first
        assert await read(node, Block(chain.tip.number, chain.tip.hash), [listed(pool)]) != first
    chain.rewind(1)


@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize("overrides", [True, False])
async def test_a_block_replaced_while_it_is_read_is_gone(world: World, overrides: bool, by_hash: bool) -> None:
    pool = of(world, "v3")[1]
    chain = world.chain
    chain.mine()
    block = Block(chain.tip.number, chain.tip.hash)
    calls = 0

    def rule(call: Call) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            chain.rewind(1)
            chain.succeed([_change(world, pool, 0, pool.tick_spacing, 10**9)])

    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        with pytest.raises(BlockGone):
            await read(
                node,
                block,
                [listed(each) for each in of(world, "v3")],
                NodeCapabilities(overrides=overrides, by_hash=by_hash),
            )

    assert calls > 3
    chain.rewind(1)


async def test_a_block_that_never_was_is_gone(world: World) -> None:
    async with node_of(world) as node:
        with pytest.raises(BlockGone):
            await probe_capabilities(node, Block(world.block.number, "0x" + "ab" * 32))
        with pytest.raises(BlockGone):
            await read(
                node,
                Block(10**9, "0x" + "ab" * 32),
                [listed(world.pools[0])],
                NodeCapabilities(overrides=True, by_hash=True),
            )


async def test_a_node_that_answers_for_blocks_that_never_were_is_not_believed(world: World) -> None:
    async with proxied(world.rpc.url, ignore_blocks) as proxy, connect(proxy.url) as node:
        with pytest.raises(StateUnavailable, match="blocks that never were"):
            await probe_capabilities(node, world.block)


async def test_a_node_that_has_forgotten_the_state_says_so(world: World) -> None:
    def rule(call: Call) -> Call | None:
        return error("missing trie node") if call["method"] in ("eth_call", "eth_getStorageAt", "eth_getCode") else None

    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        with pytest.raises(StateUnavailable):
            await probe_capabilities(node, world.block)
        with pytest.raises(StateUnavailable, match="missing trie node"):
            await read(
                node,
                world.block,
                [listed(each) for each in of(world, "v3")],
                NodeCapabilities(overrides=True, by_hash=True),
            )


@pytest.mark.parametrize("garbage", [None, 7, {}, "", "0x", "0xzz", "0x" + "zz" * 32, "0x" + "00" * 31])
@pytest.mark.parametrize("overrides", [True, False])
async def test_answers_that_are_none_never_become_states(world: World, overrides: bool, garbage: object) -> None:
    calls = 0

    def rule(call: Call) -> Call | None:
        nonlocal calls
        calls += call["method"] != "eth_getBlockByNumber"
        return (
            {"result": garbage}
            if calls > (1 if overrides else 12) and call["method"] in ("eth_call", "eth_getStorageAt")
            else None
        )

    async with proxied(world.rpc.url, rule) as proxy, connect(proxy.url) as node:
        try:
            states = await read(
                node,
                world.block,
                [listed(each) for each in of(world, "v3")[1:4]],
                NodeCapabilities(overrides=overrides, by_hash=True),
            )
        except BlockGone:
            return

    assert not any(isinstance(state, V3State) for state in states.values())


async def test_a_node_that_limits_requests_gets_no_smaller_batches(world: World) -> None:
    async with (
        proxied(
            world.rpc.url, lambda call: error("rate limit exceeded", -32005) if call["method"] == "eth_call" else None
        ) as proxy,
        connect(proxy.url) as node,
    ):
        with pytest.raises(NodeUnavailable, match="rate limit"):
            await read(node, world.block, [listed(world.pools[0])], NodeCapabilities(overrides=True, by_hash=True))
        proxy.status = 429
        with pytest.raises(NodeUnavailable):
            await read(node, world.block, [listed(world.pools[0])], NodeCapabilities(overrides=True, by_hash=True))


@pytest.mark.parametrize("slots", [v3.UNISWAP_SLOTS, v3.PANCAKE_SLOTS], ids=["Uniswap", "PancakeSwap"])
async def test_any_bitmap_is_walked_as_slot_by_slot(world: World, slots: Slots) -> None:
    """Storage put there by hand, for no pool of positions has words as full as these."""
    pool, chance = PoolId(f"0xcafe{slots.liquidity:036x}"), random.Random(slots.liquidity)
    full, odd = (1 << 256) - 1, int("55" * 32, 16)
    bitmap = {-3466: 1 << 255, -3465: full, -1: 1, 0: odd, 1: 1 << 255 | 1, 700: 0xFF00FF << 100, 3465: 1 << 80}
    bitmap |= {word: chance.getrandbits(256) & chance.getrandbits(256) for word in chance.sample(range(2, 600), 5)}
    put = {0: 1 << 96 if slots == v3.PANCAKE_SLOTS else 1 << 240 | 1 << 96, 1: 1 << 32, slots.liquidity: 77}
    put |= {mapping_slot(word, slots.bitmap): bits for word, bits in bitmap.items()}
    expected = {}
    for word, bits in sorted(bitmap.items()):
        for tick in (word * 256 + bit for bit in range(256) if bits >> bit & 1):
            expected[tick] = chance.getrandbits(256)
    put |= {mapping_slot(tick, slots.ticks): content for tick, content in expected.items()}
    world.rpc.call("anvil_setCode", pool, "0x00")
    world.rpc.batch(
        [("anvil_setStorageAt", [pool, f"0x{slot:064x}", f"0x{content:064x}"]) for slot, content in put.items()]
    )
    world.chain.mine()
    target = PoolStorage(PoolMetadata(pool, "v3", Token(NATIVE), Token(NATIVE), 100, 1), pool, v3.UNISWAP_SLOTS, 1, 77)

    async with node_of(world) as node:
        block = Block(world.chain.tip.number, world.chain.tip.hash)
        for most in (8192, 100):
            read = (
                await read_tick_bitmaps(
                    PinnedState(node, block, NodeCapabilities(True, True, words_per_call=most)), [target]
                )
            )[pool]
            assert not isinstance(read, ReadFailed)
            assert read.liquidity == 77
            assert read.ticks == tuple(tick_of(tick, content) for tick, content in expected.items())
        assert await read_slots(PinnedState(node, block, NodeCapabilities(False, True)), [target]) == {pool: read}


def selector(function: ABIFunction) -> bytes:
    return call_data(function_abi(function))
