"""The short form of `make chaos`: one round that has a bit of everything. ARENA_TEST_SEED=… for another one."""

import os
from pathlib import Path

import pytest

from lab.chaos.__main__ import run, summary
from lab.chaos.faults import plan

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]

SEED = 9
"""Two bridges, each frozen once, a feed too; scraper and worker killed, an RPC that lags and is silent."""


def test_a_round_of_chaos_ends_as_the_chain_has_it(tmp_path: Path) -> None:
    reports = run(1, int(os.environ.get("ARENA_TEST_SEED", SEED)), 12.0, tmp_path)

    assert [report.differences for report in reports] == [()], summary(reports)
    assert reports[0].answers["states compared"] > 0


def test_the_same_seed_plans_the_same_round() -> None:
    plans = [plan(seed) for seed in range(300)]

    assert [plan(seed) for seed in range(300)] == plans
    kinds = {name for each in plans for name in each.counts()}
    assert {
        "worker killed",
        "worker directory corrupted",
        "kafka frozen",
        "nats killed",
        "bridge frozen",
        "exex killed",
        "rpc silent",
        "second bridge",
        "bridge-2 frozen",
        "reorg deeper than the memory",
    } <= kinds
