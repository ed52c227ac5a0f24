"""Every discovered pool has a reason, also one that a build omits because there are too many."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.table import Table

from lab.demo.whitelist import configuration
from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from protocols.types import NATIVE, Block, PoolId, ProtocolName
from settings import Settings
from whitelist import build as building
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.pool_index import open_index
from whitelist.pools.selection import skip_reason
from whitelist.publication import tables
from whitelist.publication.decision_lookup import with_decision_on
from whitelist.publication.store import Build, WhitelistStore
from whitelist.service import build_once
from whitelist.tokens.chosen import ListedToken

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
def test_the_missing_token_is_named(found: DiscoveredPool, reason: str) -> None:
    assert skip_reason(found, [A], {C: f"{C} is blocked"}) == reason


def test_a_blocked_coin_is_named_too() -> None:
    assert skip_reason(pool(NATIVE, A), [A], {NATIVE: f"{NATIVE} is blocked"}) == f"{NATIVE} is blocked"


def test_the_decision_on_an_omitted_pool_is_looked_up(tmp_path: Path) -> None:
    store = WhitelistStore(Settings(data=tmp_path))
    block = Block(9, "0x" + "9" * 64)
    made = Build(1, block, [ListedToken(A, "A", 18, ("trusted",))], {}, [], [], [], omitted=2)
    everything = Build(1, block, made.tokens, {}, [], [], [], omitted=0)
    with open_index(store.pools) as index:
        index.start_factory(FACTORY, "v2", 0)
        index.add_range(FACTORY, [(1, pool(A, B)), (9, pool(A, NATIVE, NEW))], block)

    shown = with_decision_on(made, store, OLD.upper().replace("0X", "0x"))

    (table,) = tables.decisions(shown, OLD)
    assert isinstance(table, Table)
    assert [[str(cell) for cell in column.cells] for column in table.columns] == [
        [OLD],
        ["rejected"],
        [f"no source chose {B}"],
    ]
    assert shown.omitted == 1
    assert with_decision_on(shown, store, OLD) == shown
    assert with_decision_on(everything, store, OLD) == everything
    assert with_decision_on(made, store, NEW) == made
    assert with_decision_on(made, store, C) == made


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with servers.anvil() as rpc:
        yield World(rpc, seed=1)


@pytest.mark.servers
async def test_pools_listed_before_are_reported_however_many_are_skipped(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token leaves the list, and a factory the file: the reasons are those, and not that the pools are gone."""
    monkeypatch.setattr(building, "MAX_SKIPPED_POOLS", 0)
    path = configuration(world.contracts, tmp_path)
    settings = Settings(rpc=world.chain.rpc.url, chain="test", data=tmp_path, whitelist_config=path)
    before = await build_once(settings)
    WhitelistStore(settings).save_published(before.published)
    gone, factory = world.contracts.tokens[2], world.contracts.pancake_factory
    path.write_text(without(path.read_text(), gone, factory))

    made = await build_once(settings)

    expected = {
        each.id: reason for each in world.pools if (reason := why(each.token0, each.token1, each.factory, world))
    }
    assert {each.pool.id: each.reason for each in made.rejected} == expected
    assert len(set(expected.values())) == 2
    assert {each.pool.id for each in made.pools} == {each.id for each in world.pools} - expected.keys()
    assert made.omitted == 0


@pytest.mark.servers
async def test_omitted_pools_are_counted(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MAX_SKIPPED_POOLS", 1)
    path = configuration(world.contracts, tmp_path)
    path.write_text(without(path.read_text(), world.contracts.tokens[1]))

    made = await build_once(Settings(rpc=world.chain.rpc.url, chain="test", data=tmp_path, whitelist_config=path))

    unchosen_pools = [each for each in world.pools if world.contracts.tokens[1] in (each.token0, each.token1)]
    assert len(made.rejected) == 1
    assert made.omitted == len(unchosen_pools) - 1
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
