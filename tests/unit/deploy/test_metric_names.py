"""Every metric that a rule or a dashboard asks for is one that a process has, with the labels that it is asked by."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from tests.support.files import ROOT

MODULES = (
    "streams.bridge.metrics",
    "streams.feed.process",
    "streams.node.metrics",
    "streams.retry",
    "streams.scraper.metrics",
    "tables.durable.changelog",
    "tables.processing.loop_lag",
    "tables.processing.metrics",
    "whitelist.metrics",
)
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "pool-state-arena.json"


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Of all series that the processes can have."""
    for module in MODULES:
        importlib.import_module(module)
    found = set()
    for metric in REGISTRY.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
        found |= {metric.name + suffix for suffix in suffixes}
    return found


def rule_queries() -> list[str]:
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def panel_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.mark.parametrize("query", [*rule_queries(), *panel_queries()])
def test_a_query_names_metrics_that_exist(query: str, names: set[str]) -> None:
    asked = set(re.findall(r"\barena_\w+", query))

    assert asked <= names
    assert asked or re.search(r"\bup\b", query)


def test_every_metrics_module_is_checked() -> None:
    defining = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for folder in ("streams", "tables", "web", "whitelist", "agents", "replay", "commands")
        for path in Path(ROOT / folder).rglob("*.py")
        if re.search(r"(Counter|Gauge|Histogram)\(\s*\"arena_", path.read_text())
    }

    assert defining == set(MODULES)


def test_the_dashboard_s_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_alert_has_a_severity_a_summary_and_a_description() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
