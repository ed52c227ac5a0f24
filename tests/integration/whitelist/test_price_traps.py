"""Pools that claim a wrong price for LINK, on a real chain: none sets it, none is listed, and no real pool is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.devnet.servers import start as servers
from tests.support.whitelist.chain import WhitelistChain, answers, configuration, deploy_whitelist_chain, sources
from tests.support.whitelist.command import built
from tests.support.whitelist.price_traps import TRAPS
from tests.support.whitelist.source_server import serving_sources

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def setup() -> Iterator[WhitelistChain]:
    with servers.anvil() as rpc:
        yield deploy_whitelist_chain(rpc)


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_sets_no_price_and_costs_no_real_pool(setup: WhitelistChain, tmp_path: Path, name: str) -> None:
    chain = setup.chain
    with serving_sources(answers(setup)) as server:
        path = configuration(setup, tmp_path, sources(server.url))
        snapshot = chain.rpc.call("evm_snapshot")
        before = built(setup, tmp_path, path)
        try:
            traps = {pool.id for pool in TRAPS[name](setup)}
            after = built(setup, tmp_path, path)
        finally:
            chain.rpc.call("evm_revert", snapshot)
            chain.mine_empty(30)

    names = setup.names
    real = {names[pool["id"]]: pool["liquidity_usd"] for pool in after["pools"] if pool["id"] not in traps}
    assert traps
    assert not traps & {pool["id"] for pool in after["pools"]}
    assert real.keys() == {names[pool["id"]] for pool in before["pools"]}
    for pool, liquidity in real.items():
        assert liquidity == pytest.approx(5_000, rel=0.03), pool
    reasons = {each["id"]: each["reason"] for each in after["rejected"]}
    assert all(
        "times off" in reasons[trap] or "are not allowed" in reasons[trap] or "its liquidity is" in reasons[trap]
        for trap in traps
    )
