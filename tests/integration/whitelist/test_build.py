"""`./arena whitelist build` on a real chain: the list is what a person would choose, each decision with its reason."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.devnet.servers import start as servers
from settings import Settings
from tests.support.whitelist.chain import (
    WhitelistChain,
    answers,
    configuration,
    deploy_whitelist_chain,
    singleton,
    sources,
)
from tests.support.whitelist.command import CHAIN, built, whitelist
from tests.support.whitelist.reasons import REJECTED, listed_because
from tests.support.whitelist.source_server import FAULTS, SourceServer, serving_sources
from whitelist.publication import tables
from whitelist.publication.store import WhitelistStore

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def setup() -> Iterator[WhitelistChain]:
    with servers.anvil() as rpc:
        yield deploy_whitelist_chain(rpc)


@pytest.fixture(scope="module")
def server(setup: WhitelistChain) -> Iterator[SourceServer]:
    with serving_sources(answers(setup)) as server:
        yield server


def test_the_list_is_what_a_person_would_choose(setup: WhitelistChain, server: SourceServer, tmp_path: Path) -> None:
    made = built(setup, tmp_path, configuration(setup, tmp_path, sources(server.url)))

    names = setup.names
    listed = {names[pool["id"]] for pool in made["pools"]}
    rejected = {names[each["id"]]: each["reason"] for each in made["rejected"]}
    assert listed == setup.pools.keys() - REJECTED.keys()
    assert len(listed) == 61
    assert rejected.keys() == REJECTED.keys()
    for name, reason in rejected.items():
        assert re.fullmatch(REJECTED[name], reason), f"{name}: {reason}"
    for pool in made["pools"]:
        assert re.fullmatch(listed_because(setup, pool), pool["reason"]), f"{names[pool['id']]}: {pool['reason']}"


def test_every_reported_field_of_a_pool_is_correct(setup: WhitelistChain, server: SourceServer, tmp_path: Path) -> None:
    made = built(setup, tmp_path, configuration(setup, tmp_path, sources(server.url)))

    assert made["block"] == {"number": setup.chain.tip.number, "hash": setup.chain.tip.hash}
    by_id = {pool["id"]: pool for pool in made["pools"]}
    for name, pool in setup.pools.items():
        if reported := by_id.get(pool.id):
            expected = (pool.protocol, pool.token0, pool.token1, pool.fee, pool.tick_spacing or None)
            assert tuple(reported[key] for key in ("protocol", "token0", "token1", "fee", "tick_spacing")) == expected
            assert reported["liquidity_usd"] == pytest.approx(5_000, rel=0.02), name
    tokens = {token["address"]: token for token in made["tokens"]}
    assert {token["symbol"]: (token["decimals"], token["sources"]) for token in tokens.values()} == {
        "WETH": (18, ["trusted"]),
        "USDC": (6, ["trusted", "cross_chain"]),
        "USDT": (6, ["trusted"]),
        "WBTC": (8, ["token_lists", "lighter"]),
        "LINK": (18, ["cross_chain"]),
        "UNI": (18, ["cross_chain"]),
        "PEPE": (18, ["hyperliquid"]),
    }
    assert setup.tokens["USDC.fake"] not in tokens
    assert {name: each["status"] for name, each in made["sources"].items()} == {
        "cross_chain": "ok",
        "hyperliquid": "ok",
        "lighter": "ok",
        "token_lists": "ok",
        "top_transfers": "disabled",
        "trusted": "ok",
    }


def test_show_prints_the_reason_of_every_decision(setup: WhitelistChain, server: SourceServer, tmp_path: Path) -> None:
    path = configuration(setup, tmp_path, sources(server.url))
    built(setup, tmp_path, path)

    everything = whitelist(setup, tmp_path, path, "show").stdout
    one = whitelist(setup, tmp_path, path, "show", setup.pools["hooked"].id).stdout
    listed = whitelist(setup, tmp_path, path, "show", setup.pools["native"].id).stdout

    of_uni = whitelist(setup, tmp_path, path, "show", setup.tokens["UNI"].upper().replace("0X", "0x")).stdout
    unknown = whitelist(setup, tmp_path, path, "show", "0x" + "12" * 20).stdout
    shown = json.loads(whitelist(setup, tmp_path, path, "show", setup.pools["blocked token"].id, "--json").stdout)

    assert all(pool.id in everything for pool in setup.pools.values())
    assert one.count("\n") == 1
    assert of_uni.splitlines()[0] == f"{setup.tokens['UNI']} is UNI, by cross_chain"
    assert of_uni.splitlines()[1].startswith(f"{setup.pools['hardly anything'].id}  rejected  UNI has no price")
    assert unknown == f"nothing was decided on {'0x' + '12' * 20} at block {shown['block']['number']}\n"
    assert shown["pools"] == []
    assert [each["reason"] for each in shown["rejected"]] == [f"{setup.tokens['SCAM']} is blocked"]
    assert "are not allowed" in one
    assert "its liquidity is" in listed
    assert "ETH by being the native coin" in listed


def test_a_pool_at_the_threshold_stays_once_it_is_listed(
    setup: WhitelistChain, server: SourceServer, tmp_path: Path, nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower = configuration(setup, tmp_path, sources(server.url) + "[thresholds_usd]\nv3 = 1700\n")
    edge = setup.pools["at the threshold"].id
    monkeypatch.setenv("ARENA_NATS", nats)
    assert whitelist(setup, tmp_path, lower, "publish").returncode == 0

    made = built(setup, tmp_path, configuration(setup, tmp_path, sources(server.url)))

    (pool,) = (pool for pool in made["pools"] if pool["id"] == edge)
    assert "1,600 USD are needed to stay" in pool["reason"]


def test_diff_prints_what_publishing_would_change_and_why(
    setup: WhitelistChain, tmp_path: Path, nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARENA_NATS", nats)
    path = configuration(setup, tmp_path)
    assert whitelist(setup, tmp_path, path, "publish").returncode == 0
    same = whitelist(setup, tmp_path, path, "diff").stdout
    higher = configuration(setup, tmp_path, "[thresholds_usd]\nv3 = 7000\n")

    changes = whitelist(setup, tmp_path, higher, "diff").stdout.splitlines()
    again = json.loads(whitelist(setup, tmp_path, higher, "diff", "--last", "--json").stdout)
    refused = whitelist(setup, tmp_path, higher, "publish")

    v3 = {pool.id for name, pool in setup.pools.items() if re.match(r"v3 (WETH/USDC|WETH/USDT|USDC/USDT)", name)}
    assert same == "0 pools new or changed, 0 removed; 13 in all\n"
    assert {line.split()[1] for line in changes if line.startswith("- ")} == v3
    assert all("5,600 USD are needed to stay" in line for line in changes if line.startswith("- "))
    assert set(again["removed"]) == v3 and again["added"] == []
    assert refused.returncode == 1
    assert f"{len(v3)} of 13 pools would be removed, more than 20%" in refused.stderr


@pytest.mark.parametrize("hooks", ['"all"', "the list"])
def test_hooks_are_allowed_by_address_or_all(setup: WhitelistChain, tmp_path: Path, hooks: str) -> None:
    hooked = setup.pools["hooked"]
    path = configuration(
        setup, tmp_path, hooks=hooks if hooks == '"all"' else f'["{hooked.hooks.upper().replace("0X", "0x")}"]'
    )

    made = built(setup, tmp_path, path)

    (pool,) = (pool for pool in made["pools"] if pool["id"] == hooked.id)
    assert pool["hooks"] == hooked.hooks
    assert f"hooks {hooked.hooks} are allowed" in pool["reason"]


def test_without_sources_only_trusted_tokens_are_chosen(setup: WhitelistChain, tmp_path: Path) -> None:
    made = built(setup, tmp_path, configuration(setup, tmp_path))

    assert {token["symbol"] for token in made["tokens"]} == {"WETH", "USDC", "USDT"}
    assert {setup.names[pool["id"]] for pool in made["pools"]} == {
        name for name in setup.pools if name == "native" or re.match(r"v\d (WETH/USDC|WETH/USDT|USDC/USDT)", name)
    }


def test_without_an_anchor_price_nothing_is_listed_and_a_warning_says_so(setup: WhitelistChain, tmp_path: Path) -> None:
    path = configuration(setup, tmp_path)
    path.write_text(path.read_text().replace("usd = 1.0", ""))

    command = whitelist(setup, tmp_path, path, "build", "--json")

    made = json.loads(command.stdout)
    reasons = {each["reason"] for each in made["rejected"] if setup.names[each["id"]] == "v2 WETH/USDC"}
    assert made["pools"] == []
    assert reasons <= {"neither WETH nor USDC has a price", "neither USDC nor WETH has a price"}
    assert len(reasons) == 1
    assert "no trusted token has a price (usd)" in command.stderr


def test_the_most_transferred_tokens_are_counted_from_the_chain(setup: WhitelistChain, tmp_path: Path) -> None:
    counting = "[sources.top_transfers]\nenabled = true\nblocks = 1000\ncount = 3\ntimeout_s = 30\n"

    made = built(setup, tmp_path, configuration(setup, tmp_path, counting))

    by_source = [token["symbol"] for token in made["tokens"] if "top_transfers" in token["sources"]]
    assert made["sources"]["top_transfers"]["tokens"] == len(by_source) == 3
    assert "WETH" in by_source


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_source_shortens_no_list(setup: WhitelistChain, tmp_path: Path, fault: str) -> None:
    with serving_sources(answers(setup)) as server:
        before = built(setup, tmp_path, configuration(setup, tmp_path, sources(server.url)))
        server.fault = fault
        path = configuration(setup, tmp_path, sources(server.url, timeout_s=0.2 if fault == "slow" else 5))

        after = built(setup, tmp_path, path)

    last_build = WhitelistStore(Settings(data=tmp_path, chain=CHAIN)).build()
    assert last_build is not None
    shown = [part for part in tables.decisions(last_build, None) if isinstance(part, str)]
    assert after["pools"] == before["pools"]
    assert after["tokens"] == before["tokens"]
    for name in ("cross_chain", "hyperliquid", "lighter", "token_lists"):
        assert after["sources"][name]["status"] == "stale"
        assert after["sources"][name]["age_s"] > 0
        assert after["sources"][name]["tokens"] == before["sources"][name]["tokens"]
        assert f"{name}: {after['sources'][name]['error']}" in shown


def test_a_source_that_never_answered_chooses_nothing_and_is_reported(setup: WhitelistChain, tmp_path: Path) -> None:
    with serving_sources(answers(setup)) as server:
        server.fault = "down"
        made = built(setup, tmp_path, configuration(setup, tmp_path, sources(server.url)))

    assert {token["symbol"] for token in made["tokens"]} == {"WETH", "USDC", "USDT"}
    report = made["sources"]["lighter"]
    assert (report["status"], report["age_s"], report["tokens"]) == ("failed", None, 0)


def test_pools_of_orphaned_blocks_are_dropped(setup: WhitelistChain, tmp_path: Path) -> None:
    path = configuration(setup, tmp_path)
    chain = setup.chain
    snapshot = chain.rpc.call("evm_snapshot")
    before = built(setup, tmp_path, path)
    try:
        singleton(setup, "late", ("WETH", "ETH"), 5_000)
        late = setup.pools.pop("late")
        with_late = built(setup, tmp_path, path)
    finally:
        chain.rpc.call("evm_revert", snapshot)
        chain.mine_empty(30)
    after = built(setup, tmp_path, path)

    assert late.id in {pool["id"] for pool in with_late["pools"]}
    assert [pool["id"] for pool in after["pools"]] == [pool["id"] for pool in before["pools"]]
    assert after["block"]["hash"] == chain.tip.hash
