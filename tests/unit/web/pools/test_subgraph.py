"""Pool lists in the form that Uniswap's smart-order-router reads."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.web_cluster import NATIVE, USDC, V4, Cluster


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    yield started
    await started.stop()


@pytest.mark.parametrize("worker", [0, 1])
async def test_v4_pools_are_as_the_router_declares_its_v4_subgraph_pool(cluster: Cluster, worker: int) -> None:
    pools: Any
    status, pools = await cluster.get("/subgraph/v4.json", worker)

    assert status == 200
    assert pools == [
        {
            "id": V4,
            "feeTier": "500",
            "liquidity": "12",
            "token0": {"id": NATIVE.address, "decimals": "18"},
            "token1": {"id": USDC.address, "decimals": "6", "symbol": "USDC"},
            "tvlETH": 0.0,
            "tvlUSD": 0.0,
            "tickSpacing": "10",
            "hooks": "0x" + "00" * 20,
        }
    ]


async def test_a_list_without_pools_is_empty(cluster: Cluster) -> None:
    pools: Any
    status, pools = await cluster.get("/subgraph/v3.json")

    assert (status, pools) == (200, [])
