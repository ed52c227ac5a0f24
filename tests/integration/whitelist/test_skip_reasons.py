"""Every pool that was found has a reason, also one of those that are too many to be told of one by one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.demo.whitelist import configuration
from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from protocols.types import NATIVE, Block, PoolId, ProtocolName
from settings import Settings
from whitelist import build as building
from whitelist.pools.decision_lookup import with_decision_on
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.pool_index import opened
from whitelist.pools.skip_reasons import unchosen
from whitelist.publication import report as reporting
from whitelist.publication.store import Build, ListedToken, WhitelistStore
from whitelist.service import build_once

A, B, C, FACTORY = (f"0x{digit * 40}" for digit in "abcf")
OLD, NEW = PoolId("0x" + "1" * 40), PoolId("0x" + "2" * 40)


def pool(token0: str, token1: str, pool_id: PoolId = OLD, protocol: ProtocolName = "v2") -> DiscoveredPool:
    return DiscoveredPool(pool_id, protocol, FACTORY, token0, token1)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pool(A, B), f"no source chose {B}"),
        (pool(B, C), f"no source chose {B} and {C} is blocked"),
        (pool(NATIVE, B), f"no source chose {B}"),
        (pool(A, A), f"its factory {FACTORY} is not configured"),
    ],
)
def test_what_is_missing_is_named(found: DiscoveredPool, reason: str) -> None:
    assert unchosen(found, [A], {C: f"{C} is blocked"}) == reason


def test_a_blocked_coin_is_named_too() -> None:
    assert unchosen(pool(NATIVE, A), [A], {NATIVE: f"{NATIVE} is blocked"}) == f"{NATIVE} is blocked"


def test_a_pool_that_the_build_does_not_tell_of_is_looked_up(tmp_path: Path) -> None:
    place = WhitelistStore(Settings(data=tmp_path))
    block = Block(9, "0x" + "9" * 64)
    made = Build(1, block, [ListedToken(A, "A", 18, ("trusted",))], {}, [], [], [], untold=2)
    everything = Build(1, block, made.tokens, {}, [], [], [], untold=0)
    with opened(place.pools) as found:
        found.begin(FACTORY, "v2", 0)
        found.add(FACTORY, [(1, pool(A, B)), (9, pool(A, NATIVE, NEW))], block)

    told = with_decision_on(made, place, OLD.upper().replace("0X", "0x"))

    assert reporting.decisions(told, OLD) == [f"{OLD}  rejected    no source chose {B}"]
    assert told.untold == 1
    assert with_decision_on(told, place, OLD) == told
    assert with_decision_on(everything, place, OLD) == everything
    assert with_decision_on(made, place, NEW) == made
    assert with_decision_on(made, place, C) == made


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with servers.anvil() as rpc:
        yield World(rpc, seed=1)


@pytest.mark.servers
async def test_what_was_listed_is_told_of_however_many_pools_are_unchosen(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token leaves the list, and a factory the file: the reasons are those, and not that the pools are gone."""
    monkeypatch.setattr(building, "MOST_UNCHOSEN", 0)
    path = configuration(world.contracts, tmp_path)
    settings = Settings(rpc=world.chain.rpc.url, chain="test", data=tmp_path, whitelist_config=path)
    before = await build_once(settings)
    WhitelistStore(settings).keep_published(before.published)
    gone, factory = world.contracts.tokens[2], world.contracts.pancake_factory
    path.write_text(without(path.read_text(), gone, factory))

    made = await build_once(settings)

    expected = {
        each.id: reason for each in world.pools if (reason := why(each.token0, each.token1, each.factory, world))
    }
    assert {each.pool.id: each.reason for each in made.rejected} == expected
    assert len(set(expected.values())) == 2
    assert {each.pool.id for each in made.pools} == {each.id for each in world.pools} - expected.keys()
    assert made.untold == 0


@pytest.mark.servers
async def test_what_is_not_told_of_is_counted(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MOST_UNCHOSEN", 1)
    path = configuration(world.contracts, tmp_path)
    path.write_text(without(path.read_text(), world.contracts.tokens[1]))

    made = await build_once(Settings(rpc=world.chain.rpc.url, chain="test", data=tmp_path, whitelist_config=path))

    unchosen_pools = [each for each in world.pools if world.contracts.tokens[1] in (each.token0, each.token1)]
    assert len(made.rejected) == 1
    assert made.untold == len(unchosen_pools) - 1
    assert len(made.pools) == len(world.pools) - len(unchosen_pools)


def without(text: str, *addresses: str) -> str:
    """The file without the tables that name these."""
    tables = text.split("\n\n")
    return "\n\n".join(table for table in tables if not any(address in table for address in addresses))


def why(token0: str, token1: str, factory: str, world: World) -> str:
    gone = world.contracts.tokens[2]
    if gone in (token0, token1):
        return f"no source chose {gone}"
    return f"its factory {factory} is not configured" if factory == world.contracts.pancake_factory else ""
