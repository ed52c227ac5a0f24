"""Raw logs to events, on logs of real blocks and on logs made to be wrong."""

from collections import Counter

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from protocols import v2, v3, v4
from protocols.abi import decode_arguments, event_abi
from protocols.concentrated import Initialize, ProtocolFeeUpdate, Swap
from protocols.decoding import TOPICS, Decoded, ForeignLog, UndecodableLog, decode, decode_listed
from protocols.registry import Event
from protocols.ticks import LiquidityChange, check_fits
from protocols.types import Log, PoolId
from protocols.v2 import Sync
from tests.support.recorded_logs import logs, recorded

POOL = "0x8ad599c3a0ff1de082011efddc58f1908eb6e6d8"
MANAGER = "0x000000000004444c5dc75cb358380d2e3de08a90"
V4_POOL = PoolId("0x21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27")
ANYONE = bytes(12) + bytes.fromhex("ab" * 20)

SYNC = keccak(b"Sync(uint112,uint112)")
INITIALIZE = keccak(b"Initialize(uint160,int24)")
SWAP = keccak(b"Swap(address,address,int256,int256,uint160,uint128,int24)")
PANCAKE_SWAP = keccak(b"Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)")
MINT = keccak(b"Mint(address,address,int24,int24,uint128,uint256,uint256)")
BURN = keccak(b"Burn(address,int24,int24,uint128,uint256,uint256)")
V4_INITIALIZE = keccak(b"Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)")
V4_SWAP = keccak(b"Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)")
PROTOCOL_FEE_UPDATED = keccak(b"ProtocolFeeUpdated(bytes32,uint24)")
SOLIDLY_SYNC = keccak(b"Sync(uint256,uint256)")
MODIFY_LIQUIDITY = keccak(b"ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)")
V4_ID = bytes.fromhex(V4_POOL[2:])

V2_SWAP = event_abi(
    {
        "type": "event",
        "name": "Swap",
        "inputs": [
            {"name": "sender", "type": "address", "indexed": True},
            {"name": "amount0In", "type": "uint256", "indexed": False},
            {"name": "amount1In", "type": "uint256", "indexed": False},
            {"name": "amount0Out", "type": "uint256", "indexed": False},
            {"name": "amount1Out", "type": "uint256", "indexed": False},
            {"name": "to", "type": "address", "indexed": True},
        ],
    }
)
V3_SWAP = event_abi(v3.SWAP)


def word(value: int) -> bytes:
    return (value % (1 << 256)).to_bytes(32, "big")


def made(topics: list[bytes], values: list[int], address: str = POOL, log_index: int = 0) -> Log:
    return Log(address, tuple(topics), b"".join(map(word, values)), 0, log_index)


GOOD: list[tuple[Log, Event]] = [
    (made([SYNC], [7, (1 << 112) - 1]), Sync(7, (1 << 112) - 1)),
    (made([INITIALIZE], [1 << 96, -1]), Initialize(1 << 96, -1)),
    (
        made([SWAP, ANYONE, ANYONE], [-5, 9, (1 << 160) - 1, (1 << 128) - 1, -887272]),
        Swap((1 << 160) - 1, (1 << 128) - 1, -887272),
    ),
    (made([PANCAKE_SWAP, ANYONE, ANYONE], [5, -9, 1 << 96, 3, 0, 1, 2]), Swap(1 << 96, 3, 0)),
    (made([MINT, ANYONE, word(-60), word(120)], [int.from_bytes(ANYONE), 4, 5, 6]), LiquidityChange(-60, 120, 4)),
    (made([BURN, ANYONE, word(-60), word(120)], [(1 << 127) - 1, 5, 6]), LiquidityChange(-60, 120, -((1 << 127) - 1))),
    (made([BURN, ANYONE, word(-60), word(120)], [0, 0, 0]), LiquidityChange(-60, 120, 0)),
    (made([V4_INITIALIZE, V4_ID, word(0), ANYONE], [0x800000, 60, 0, 1 << 96, 0], MANAGER), Initialize(1 << 96, 0)),
    (made([V4_SWAP, V4_ID, ANYONE], [5, -9, 1 << 96, 3, -1, 500], MANAGER), Swap(1 << 96, 3, -1)),
    (
        made([MODIFY_LIQUIDITY, V4_ID, ANYONE], [-60, 60, -(1 << 127), 77], MANAGER),
        LiquidityChange(-60, 60, -(1 << 127)),
    ),
    (made([MODIFY_LIQUIDITY, V4_ID, ANYONE], [-60, 60, 0, 0], MANAGER), LiquidityChange(-60, 60, 0)),
    (made([PROTOCOL_FEE_UPDATED, V4_ID], [(700 << 12) | 900], MANAGER), ProtocolFeeUpdate((700 << 12) | 900)),
]


def test_the_topics_are_those_of_the_contracts() -> None:
    v2_and_v3 = [SYNC, SOLIDLY_SYNC, INITIALIZE, SWAP, PANCAKE_SWAP, MINT, BURN]
    known = [*v2_and_v3, V4_INITIALIZE, V4_SWAP, MODIFY_LIQUIDITY, PROTOCOL_FEE_UPDATED]

    assert frozenset(known) == TOPICS
    assert SYNC.hex().startswith("1c411e9a")
    assert SWAP.hex().startswith("c42079f9")
    assert PANCAKE_SWAP.hex().startswith("19b47279")


@pytest.mark.parametrize(("log", "event"), GOOD)
def test_every_log_that_changes_state_becomes_its_event(log: Log, event: Event) -> None:
    decoded = decode(log)

    assert decoded is not None
    assert decoded.event == event
    assert decoded.pool == (V4_POOL if log.address == MANAGER else POOL)
    assert decoded.emitter == log.address


@pytest.mark.parametrize(
    "signature",
    [
        "Collect(address,address,int24,int24,uint128,uint128)",
        "Flash(address,address,uint256,uint256,uint256,uint256)",
        "CollectProtocol(address,address,uint128,uint128)",
        "SetFeeProtocol(uint8,uint8,uint8,uint8)",
        "Donate(bytes32,address,uint256,uint256)",
        "Mint(address,uint256,uint256)",
        "Burn(address,uint256,uint256,address)",
        "Swap(address,uint256,uint256,uint256,uint256,address)",
        "Transfer(address,address,uint256)",
    ],
)
def test_other_logs_change_nothing(signature: str) -> None:
    assert decode(made([keccak(signature.encode()), ANYONE], [1, 2])) is None


def test_a_log_without_topics_changes_nothing() -> None:
    assert decode(made([], [1])) is None


@pytest.mark.parametrize(("log", "_"), GOOD)
def test_a_log_of_another_length_is_malformed(log: Log, _: Event) -> None:
    wrong = [
        Log(log.address, log.topics, log.data + b"\0", 0, 0),
        Log(log.address, log.topics, log.data[:-1], 0, 0),
        Log(log.address, log.topics, log.data + bytes(32), 0, 0),
        Log(log.address, log.topics, b"", 0, 0),
        Log(log.address, (*log.topics, ANYONE), log.data, 0, 0),
        Log(log.address, (*log.topics[:-1], *([ANYONE[1:]] if log.topics[1:] else [])), log.data, 0, 0),
    ]

    for each in wrong:
        if each.topics:
            with pytest.raises(UndecodableLog):
                decode(each)


@pytest.mark.parametrize(
    "log",
    [
        made([SYNC], [1 << 112, 0]),
        made([SYNC], [0, 1 << 112]),
        made([INITIALIZE], [1 << 160, 0]),
        made([INITIALIZE], [1, 1 << 23]),
        made([INITIALIZE], [1, -(1 << 23) - 1]),
        made([SWAP, ANYONE, ANYONE], [0, 0, 1, 1 << 128, 0]),
        made([SWAP, ANYONE, ANYONE], [0, 0, 1, 1, 0xFFFFFF]),
        made([PANCAKE_SWAP, ANYONE, ANYONE], [0, 0, 1, 1, 0, 1 << 128, 0]),
        made([MINT, ANYONE, word(0), word(1 << 23)], [0, 0, 0, 0]),
        made([MINT, ANYONE, word(0), word(1)], [0, 1 << 128, 0, 0]),
        made([MINT, ANYONE, word(0), word(1)], [0, 1 << 127, 0, 0]),
        made([BURN, ANYONE, word(0), word(1)], [1 << 127, 0, 0]),
        made([BURN, ANYONE, word(0xFFFFFF), word(1)], [0, 0, 0]),
        made([V4_SWAP, V4_ID, ANYONE], [1 << 127, 0, 1, 1, 0, 0]),
        made([V4_SWAP, V4_ID, ANYONE], [0, 0, 1, 1, 0, 1 << 24]),
        made([PROTOCOL_FEE_UPDATED, V4_ID], [1 << 24], MANAGER),
        made([MODIFY_LIQUIDITY, V4_ID, ANYONE], [0, 1, 1 << 127, 0]),
        made([MODIFY_LIQUIDITY, V4_ID, ANYONE], [0, 1, -(1 << 127) - 1, 0]),
    ],
)
def test_a_value_beyond_its_type_is_malformed_and_not_clamped(log: Log) -> None:
    with pytest.raises(UndecodableLog):
        decode(log)


def test_malformed_says_which_log_and_why() -> None:
    with pytest.raises(UndecodableLog, match=r"log 5 \(transaction 0\) of 0x8ad5.* 32 bytes of data instead of 64"):
        decode(made([SYNC], [1], log_index=5))


def test_a_listed_pair_of_solidly_is_refused_for_its_foreign_sync() -> None:
    foreign = made([SOLIDLY_SYNC], [1 << 200, 2], log_index=3)

    for listed_as in ("v2", None):
        with pytest.raises(ForeignLog, match=r"log 3 .* Sync\(uint256,uint256\), as pairs of Solidly") as refused:
            decode_listed([foreign], {PoolId(POOL): listed_as}, {})
        assert isinstance(refused.value, UndecodableLog)


def test_a_foreign_sync_matters_only_for_a_pool_that_is_listed_as_a_pair() -> None:
    foreign = made([SOLIDLY_SYNC], [1, 2])

    assert decode_listed([foreign], {PoolId(MANAGER): "v2"}, {}) == []
    assert decode_listed([foreign], {PoolId(POOL): "v3"}, {}) == []


def test_only_logs_of_listed_pools_are_relevant_in_log_order() -> None:
    other = "0x" + "cd" * 20
    late, early = made([SYNC], [1, 2], log_index=9), made([SYNC], [3, 4], log_index=2)

    found = decode_listed([late, made([SYNC], [5, 6], other), early], {PoolId(POOL): "v2"}, {})

    assert found == [
        (early, Decoded("v2", PoolId(POOL), POOL, Sync(3, 4))),
        (late, Decoded("v2", PoolId(POOL), POOL, Sync(1, 2))),
    ]


def test_a_pool_of_unknown_protocol_accepts_logs_of_any() -> None:
    logs = [made([SYNC], [1, 2]), made([INITIALIZE], [1 << 96, 0], log_index=1)]

    assert len(decode_listed(logs, {PoolId(POOL): None}, {})) == 2
    assert [found.protocol for _, found in decode_listed(logs, {PoolId(POOL): "v3"}, {})] == ["v3"]


def test_a_v4_log_counts_only_from_the_pools_own_manager() -> None:
    values = [5, -9, 1 << 96, 3, -1, 500]
    real = made([V4_SWAP, V4_ID, ANYONE], values, MANAGER)
    forged = made([V4_SWAP, V4_ID, ANYONE], values, POOL)

    assert [log for log, _ in decode_listed([real, forged], {V4_POOL: "v4"}, {V4_POOL: MANAGER})] == [real]
    assert decode_listed([real, forged], {V4_POOL: "v4"}, {}) == []
    assert decode_listed([real], {PoolId(MANAGER): None}, {V4_POOL: MANAGER}) == []


def test_a_malformed_log_matters_only_if_its_pool_is_listed() -> None:
    bad = made([SYNC], [1])
    nameless = made([V4_SWAP], [1], MANAGER)

    assert decode_listed([bad, nameless], {V4_POOL: "v4"}, {V4_POOL: MANAGER}) == []
    with pytest.raises(UndecodableLog):
        decode_listed([bad], {PoolId(POOL): "v2"}, {})


@given(
    st.sampled_from([log for log, _ in GOOD]),
    st.binary(max_size=320),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4),
)
def test_whatever_a_contract_emits_is_decoded_or_malformed(log: Log, data: bytes, topics: list[bytes]) -> None:
    strange = Log(log.address, (log.topics[0], *topics), data, 0, 0)

    try:
        decoded = decode(strange)
    except UndecodableLog:
        return

    assert decoded is not None


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("block_21925176", {"Sync": 24, "Swap": 15, "LiquidityChange": 4}),
        ("blocks_17173049_17173050", {"Sync": 69, "Swap": 10}),
        ("usdc_weth_2024-01-05", {"Swap": 267, "LiquidityChange": 21}),
    ],
)
def test_real_logs_decode_in_order(name: str, counts: dict[str, int]) -> None:
    blocks = recorded(name)
    order = [(each.block, each.log_index) for each in blocks]
    decoded = [found for each in blocks if (found := decode(each.log())) is not None]

    assert order == sorted(order)
    assert Counter(type(found.event).__name__ for found in decoded) == counts


def test_real_v4_swaps_are_of_their_pools() -> None:
    pools = {V4_POOL: None, PoolId("0x72331fcb696b0151904c03584b66dc8365bc63f8a144d89a773384e3a579ca73"): None}

    found = decode_listed(logs("block_21925176"), pools, dict.fromkeys(pools, MANAGER))

    assert [each.pool for _, each in found] == list(pools)
    assert found[0][1].event == Swap(3886394538491783437248125, 135179370892868266, -198463)


def test_after_every_real_swap_the_tick_fits_the_price() -> None:
    names = ("block_21925176", "blocks_17173049_17173050", "usdc_weth_2024-01-05")
    swaps = [
        found.event
        for name in names
        for log in logs(name)
        if (found := decode(log)) is not None and isinstance(found.event, Swap)
    ]

    assert len(swaps) == 292
    for swap in swaps:
        check_fits(swap.tick, swap.sqrt_price_x96)


def test_real_swaps_pay_out_what_price_and_liquidity_say() -> None:
    """Between two swaps at the same liquidity the amount out follows exactly from the two prices."""
    checked = 0
    before: Swap | None = None

    for log in logs("usdc_weth_2024-01-05"):
        match decode(log):
            case Decoded(event=Swap() as after):
                if before is not None and before.liquidity == after.liquidity:
                    amounts = decode_arguments(V3_SWAP, log)
                    assert paid_out(before, after) == -min(amounts["amount0"], amounts["amount1"])
                    checked += 1
                before = after
            case Decoded(event=LiquidityChange(delta=delta)) if delta:
                before = None

    assert checked == 233


def paid_out(before: Swap, after: Swap) -> int:
    old, new = before.sqrt_price_x96, after.sqrt_price_x96
    if new < old:
        return after.liquidity * (old - new) >> 96
    return (after.liquidity << 96) * (new - old) // new // old


def test_real_reserves_change_by_what_swaps_bring_and_take() -> None:
    """V2 emits Sync and then Swap: from one Sync of a pool to the next the difference is what the Swap says."""
    reserves: dict[str, tuple[Sync, Sync | None]] = {}
    checked = 0

    for log in logs("block_21925176") + logs("blocks_17173049_17173050"):
        match decode(log):
            case Decoded(protocol="v2", event=Sync() as sync):
                reserves[log.address] = (sync, reserves.get(log.address, (None, None))[0])
        if log.topics and log.topics[0] == V2_SWAP.topic0:
            after, before = reserves[log.address]
            if before is not None:
                amounts = decode_arguments(V2_SWAP, log)
                assert after.reserve0 - before.reserve0 == amounts["amount0In"] - amounts["amount0Out"]
                assert after.reserve1 - before.reserve1 == amounts["amount1In"] - amounts["amount1Out"]
                checked += 1

    assert checked > 20


def test_each_protocol_names_its_pools() -> None:
    log = made([V4_SWAP, V4_ID], [], MANAGER)

    assert (v2.DEX.pool_of(log), v3.DEX.pool_of(log), v4.DEX.pool_of(log)) == (MANAGER, MANAGER, V4_POOL)
