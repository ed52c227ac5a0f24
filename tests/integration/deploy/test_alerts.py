"""Each alert fires on series of its fault, alone, and none on series of a healthy system; promtool evaluates them."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.files import ROOT
from tests.support.programs.promtool import PromtoolMissing, promtool

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
HOURS = 4
STEPS = HOURS * 120
"""Of 30 s."""

WELL = {
    **{
        f'up{{job="{job}",instance="{job}:1",chain="x"}}': f"1x{STEPS}"
        for job in ("worker", "exex", "bridge", "scraper")
    },
    'arena_divergences_total{chain="x",instance="w"}': f"0x{STEPS}",
    'arena_pools{chain="x",status="live"}': f"990x{STEPS}",
    'arena_pools{chain="x",status="waiting"}': f"10x{STEPS}",
    'arena_head_lag_seconds{chain="x",partition="0"}': f"3x{STEPS}",
    'arena_head_lag_seconds{chain="x",partition="1"}': f"14x{STEPS}",
    'arena_head_block{chain="x",partition="0"}': f"100+2x{STEPS}",
    'arena_head_block{chain="x",partition="1"}': f"99+2x{STEPS}",
    'arena_dead_letters_total{chain="x",topic="chain"}': f"0x{STEPS}",
    'arena_lost_records_total{chain="x",topic="chain"}': f"0x{STEPS}",
    'arena_audits_total{chain="x"}': f"0+30x{STEPS}",
    'arena_bridge_node_head_block{chain="x"}': f"100+2x{STEPS}",
    'arena_bridge_feed_block{chain="x"}': f"98+2x{STEPS}",
    'arena_exex_node_head_block{chain="x"}': f"100+2x{STEPS}",
    'arena_exex_head_block{chain="x"}': f"100+2x{STEPS}",
    'arena_bridge_node_away{chain="x"}': f"0x{STEPS}",
    'arena_bridge_gaps_total{chain="x"}': f"0x{STEPS}",
    'arena_bridge_broken_promises_total{chain="x",kind="OutOfOrder"}': f"1x{STEPS}",
    'arena_node_rate_limited_total{chain="x"}': f"0x{STEPS}",
    'arena_scraper_batch_seconds_bucket{chain="x",protocol="v3",le="9.6"}': f"0+10x{STEPS}",
    'arena_scraper_batch_seconds_bucket{chain="x",protocol="v3",le="11"}': f"0+10x{STEPS}",
    'arena_scraper_batch_seconds_bucket{chain="x",protocol="v3",le="15"}': f"0+10x{STEPS}",
    'arena_scraper_batch_seconds_bucket{chain="x",protocol="v3",le="+Inf"}': f"0+10x{STEPS}",
    'arena_scraper_batches_total{chain="x",protocol="v3",outcome="read"}': f"0+10x{STEPS}",
    'arena_scraper_batches_total{chain="x",protocol="v3",outcome="node unavailable"}': f"0+0.1x{STEPS}",
    'arena_scraper_reference_blocks_total{chain="x",outcome="published"}': f"0+10x{STEPS}",
    'arena_scraper_reference_blocks_total{chain="x",outcome="failed"}': f"0+0.1x{STEPS}",
    'arena_scraper_converging_seconds{chain="x"}': f"200x{STEPS}",
    'arena_whitelist_builds_total{chain="x",outcome="published"}': f"0+0.01x{STEPS}",
    'arena_whitelist_builds_total{chain="x",outcome="failed"}': f"0+0.01x{STEPS}",
}
LATE = f"0x{STEPS - 60} 0+1x60"
"""Something that happens in the last half hour."""
FAULTS: Mapping[str, Mapping[str, str]] = {
    "ArenaDivergence": {'arena_divergences_total{chain="x",instance="w"}': f"0x{STEPS - 10} 1x10"},
    "ArenaPoolsWaiting": {'arena_pools{chain="x",status="waiting"}': f"60x{STEPS}"},
    "ArenaHeadLate": {'arena_head_lag_seconds{chain="x",partition="1"}': f"14x{STEPS - 8} 20+15x8"},
    "ArenaPartitionLags": {'arena_head_block{chain="x",partition="1"}': f"70+2x{STEPS}"},
    "ArenaDeadLetters": {'arena_dead_letters_total{chain="x",topic="chain"}': LATE},
    "ArenaRecordsLost": {'arena_lost_records_total{chain="x",topic="chain"}': LATE},
    "ArenaNoAudits": {'arena_audits_total{chain="x"}': f"500x{STEPS}"},
    "ArenaFeedLag": {'arena_bridge_feed_block{chain="x"}': f"70+2x{STEPS}"},
    "ArenaExexLag": {'arena_exex_head_block{chain="x"}': f"70+2x{STEPS}"},
    "ArenaNodeAway": {'arena_bridge_node_away{chain="x"}': f"0x{STEPS - 5} 1x5"},
    "ArenaGap": {'arena_bridge_gaps_total{chain="x"}': LATE},
    "ArenaFeedBreaksProtocol": {'arena_bridge_broken_promises_total{chain="x",kind="OutOfOrder"}': LATE},
    "ArenaRateLimited": {'arena_node_rate_limited_total{chain="x"}': f"0x{STEPS - 60} 0+50x60"},
    "ArenaBatchSlow": {
        'arena_scraper_batch_seconds_bucket{chain="x",protocol="v3",le="9.6"}': f"0+8x{STEPS}",
        'arena_scraper_batch_seconds_bucket{chain="x",protocol="v3",le="11"}': f"0+9x{STEPS}",
    },
    "ArenaBatchesFail": {
        'arena_scraper_batches_total{chain="x",protocol="v3",outcome="node unavailable"}': f"0+1x{STEPS}"
    },
    "ArenaReferenceBlocksUnpublished": {
        'arena_scraper_reference_blocks_total{chain="x",outcome="failed"}': f"0+1x{STEPS}"
    },
    "ArenaConvergenceSlow": {'arena_scraper_converging_seconds{chain="x"}': f"200x{STEPS - 5} 601+30x5"},
    "ArenaDown": {'up{job="bridge",instance="bridge:1",chain="x"}': f"1x{STEPS - 5} 0x5"},
    "ArenaNoWorker": {
        'arena_head_block{chain="x",partition="0"}': f"100x{STEPS - 30} _x30 stale",
        'arena_head_block{chain="x",partition="1"}': f"100x{STEPS - 30} _x30 stale",
    },
    "ArenaWhitelistFails": {'arena_whitelist_builds_total{chain="x",outcome="published"}': f"3x{STEPS}"},
}


def test_every_alert_has_a_fault() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]

    assert {rule["alert"] for group in groups for rule in group["rules"]} == set(FAULTS)


def test_the_rules_and_the_scrape_configuration_are_valid() -> None:
    check("check", "rules", str(RULES))
    check("check", "config", "--syntax-only", str(RULES.with_name("prometheus.yml")))


def test_no_alert_fires_on_a_healthy_system(tmp_path: Path) -> None:
    expect_firing(tmp_path, WELL, [])


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_on_its_fault_and_no_other_does(alert: str, tmp_path: Path) -> None:
    expect_firing(tmp_path, {**WELL, **FAULTS[alert]}, [alert])


def expect_firing(directory: Path, series: Mapping[str, str], alerts: list[str]) -> None:
    firing = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{HOURS}h",
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
    }
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30s",
        "tests": [{"interval": "30s", "input_series": inputs, "promql_expr_test": [firing]}],
    }
    path = directory / "test.yml"
    path.write_text(yaml.safe_dump(tests))
    check("test", "rules", str(path))


def check(*arguments: str) -> None:
    try:
        program = promtool()
    except PromtoolMissing as error:
        pytest.skip(str(error))
    result = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
