"""Which contract is a V4 pool's PoolManager, on a real chain."""

from collections.abc import Callable

import msgspec
import pytest

from lab.devnet.chain.blocks import Chain
from lab.devnet.chain.contracts import NATIVE, Contracts, create_v4
from lab.devnet.chain.evm import Rpc
from protocols.abi import event_abi
from protocols.types import PoolId, PoolMetadata, Token
from protocols.v4 import INITIALIZE
from settings import Settings
from streams.node.client import connect
from streams.node.pool_managers import pool_manager
from tests.support.rpc_proxy import Call, error, proxied

pytestmark = pytest.mark.servers

MAINNET = "0x000000000004444c5dc75cb358380d2e3de08a90"
NAMED = "0x" + "Ab" * 20


def pool(pool_id: str, factory: str | None = None) -> PoolMetadata:
    return PoolMetadata(PoolId(pool_id), "v4", Token(NATIVE), Token(NATIVE), 500, 10, factory)


async def test_the_list_is_asked_before_the_settings_and_these_before_the_chain(anvil: Callable[..., str]) -> None:
    settings = Settings(v4_pool_manager=NAMED)
    listed = pool("0x" + "01" * 32, "0x" + "CD" * 20)
    async with connect(anvil("--chain-id", "1")) as node:
        await node.call("anvil_setCode", [MAINNET, "0x00"])

        assert await pool_manager(node, listed, settings) == "0x" + "cd" * 20
        assert await pool_manager(node, pool("0x" + "01" * 32), settings) == NAMED.lower()
        assert await pool_manager(node, pool("0x" + "01" * 32), Settings()) == MAINNET
        assert await pool_manager(node, msgspec.structs.replace(listed, protocol="v3"), settings) is None


async def test_without_a_well_known_manager_the_pools_own_log_names_it(anvil: Callable[..., str]) -> None:
    url = anvil("--chain-id", "1")
    chain = Chain(Rpc(url))
    contracts = Contracts.deployed(chain)
    t0, t1, *_ = contracts.tokens
    unborn = pool("0x" + "01" * 32)

    async with connect(url) as node:
        before = await pool_manager(node, unborn, Settings())
        born = create_v4(chain, contracts.manager, (t0, t1, 500, 10, NATIVE), at_tick=0)
        found = await pool_manager(node, pool(born.id), Settings())
        await node.call("anvil_reset", [])
        remembered = await pool_manager(node, pool(born.id), Settings())

    assert (before, found, remembered) == (None, contracts.manager, contracts.manager)


@pytest.mark.parametrize("answer", ["two emitters", "refused"])
async def test_an_unknown_manager_is_not_guessed(anvil: Callable[..., str], answer: str) -> None:
    def rule(call: Call) -> Call | None:
        if call["method"] != "eth_getLogs":
            return None
        assert call["params"][0]["topics"] == ["0x" + event_abi(INITIALIZE).topic0.hex(), "0x" + "01" * 32]
        logs = [{"address": "0x" + each * 20} for each in ("01", "02")]
        return {"result": logs} if answer == "two emitters" else error("query returned more than 10000 results")

    async with proxied(anvil(), rule) as proxy, connect(proxy.url) as node:
        assert await pool_manager(node, pool("0x" + "01" * 32), Settings()) is None
