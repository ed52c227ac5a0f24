"""Creation logs decoded as pools: Uniswap's first ones on mainnet, and logs that only look similar."""

import pytest
from eth_abi.abi import encode

from protocols.abi import AbiMismatch
from protocols.types import Log, PoolId, ProtocolName
from whitelist.pools.factory_events import DiscoveredPool, creation_topic, decode_creation

FACTORY, HOOKS = "0x" + "fa" * 20, "0x" + "0c" * 20
USDC, WETH = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
PAIR, POOL = "0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc", "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
ID = "0x" + "4d" * 32
TOPICS = {
    "v2": "0d3648bd0f6ba80134a33ba9275ac585d9d315f0ad8355cddefde31afa28d0e9",
    "v3": "783cca1c0412dd0d695e784568c96da2e9c22ff989357a2e8b1d9b2b4e6b7118",
    "v4": "dd466e674ea557f56295e2d0218a125ea4b4f0f6f3307b95f85e6110838d6438",
}


def word(value: int | str) -> bytes:
    number = int(value, 16) if isinstance(value, str) else value
    return (number % 2**256).to_bytes(32, "big")


def log(protocol: ProtocolName, *indexed: int | str, data: bytes) -> Log:
    return Log(FACTORY, (bytes.fromhex(TOPICS[protocol]), *map(word, indexed)), data, 0, 0)


@pytest.mark.parametrize("protocol", ["v2", "v3", "v4"])
def test_the_topics_are_those_of_the_chain(protocol: ProtocolName) -> None:
    assert creation_topic(protocol).hex() == TOPICS[protocol]


def test_a_pair_is_its_own_address() -> None:
    creation = log("v2", USDC, WETH, data=encode(["address", "uint256"], [PAIR, 1]))

    assert decode_creation("v2", creation) == DiscoveredPool(PoolId(PAIR), "v2", FACTORY, USDC, WETH)


def test_a_v3_pool_has_a_fee_and_a_spacing() -> None:
    creation = log("v3", USDC, WETH, 500, data=encode(["int24", "address"], [10, POOL]))

    assert decode_creation("v3", creation) == DiscoveredPool(PoolId(POOL), "v3", FACTORY, USDC, WETH, 500, 10)


def test_a_v4_pool_is_an_id_with_hooks() -> None:
    data = encode(["uint24", "int24", "address", "uint160", "int24"], [0x800000, 60, HOOKS, 2**96, -887_272])
    creation = log("v4", ID, USDC, WETH, data=data)

    assert decode_creation("v4", creation) == DiscoveredPool(PoolId(ID), "v4", FACTORY, USDC, WETH, 0x800000, 60, HOOKS)


@pytest.mark.parametrize(
    ("protocol", "other"),
    [
        ("v2", log("v2", USDC, data=encode(["address", "uint256"], [PAIR, 1]))),
        ("v2", log("v2", USDC, WETH, data=b"")),
        ("v2", log("v2", USDC, 2**200, data=encode(["address", "uint256"], [PAIR, 1]))),
        ("v3", log("v2", USDC, WETH, data=encode(["address", "uint256"], [PAIR, 1]))),
        ("v3", log("v3", USDC, WETH, 2**24, data=encode(["int24", "address"], [10, POOL]))),
        ("v4", log("v4", ID, USDC, WETH, data=encode(["uint24", "int24"], [500, 10]))),
    ],
)
def test_another_log_is_refused(protocol: ProtocolName, other: Log) -> None:
    with pytest.raises(AbiMismatch):
        decode_creation(protocol, other)
