"""The reference reader compared with web3's own contracts, which come to the same numbers in another way."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_typing import HexStr
from web3 import HTTPProvider, Web3

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.world import World
from lab.devnet.servers.packages import artifact

pytestmark = pytest.mark.servers

PAIR = "@uniswap/v2-core/build/UniswapV2Pair.json"
POOL = "@uniswap/v3-core/artifacts/contracts/UniswapV3Pool.sol/UniswapV3Pool.json"


@pytest.fixture
def world(anvil: Callable[..., str]) -> World:
    made = World(anvil(), seed=3)
    for _ in range(10):
        made.mine()
    return made


def test_the_reference_reader_reads_what_web3_reads(world: World) -> None:
    web3 = Web3(HTTPProvider(world.chain.rpc.url))
    block_hash = world.chain.tip.hash

    for pool in world.pools:
        if pool.protocol == "v4" or pool.fee == 2500:
            continue  # no getters; PancakeSwap's slot0 has another shape
        truth = world.reference.truth(pool, block_hash)
        fields, ticks = _by_web3(web3, pool, HexStr(block_hash), [tick for tick, _, _ in truth.ticks])

        assert truth.fields == fields
        assert list(truth.ticks) == ticks


def _by_web3(web3: Web3, pool: Pool, block_hash: HexStr, ticks: list[int]) -> tuple[dict[str, int], list[Any]]:
    abi = artifact(PAIR if pool.protocol == "v2" else POOL)["abi"]
    functions = web3.eth.contract(address=Web3.to_checksum_address(pool.address), abi=abi).functions
    if pool.protocol == "v2":
        reserve0, reserve1, _ = functions.getReserves().call(block_identifier=block_hash)
        return {"reserve0": reserve0, "reserve1": reserve1}, []
    sqrt_price_x96, tick, *_ = functions.slot0().call(block_identifier=block_hash)
    liquidity = functions.liquidity().call(block_identifier=block_hash)
    read = [(each, *functions.ticks(each).call(block_identifier=block_hash)[:2]) for each in ticks]
    return {"sqrt_price_x96": sqrt_price_x96, "tick": tick, "liquidity": liquidity}, read
