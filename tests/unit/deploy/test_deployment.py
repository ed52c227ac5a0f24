"""The files of a deployment fit the published schema, the settings, the commands and each other."""

import json
import re
from configparser import RawConfigParser
from typing import Any

import jsonschema
import pytest
import yaml

from commands.__main__ import MODULES
from deploy.healthcheck import address
from settings import Settings
from tables.durable.app import STOPPING_S
from tests.support.files import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if "pool-state-arena" in each["image"]}
SCHEMA = ROOT / "tests" / "data" / "compose-spec.json"
"""Of the Compose Specification (github.com/compose-spec/compose-spec), Apache-2.0."""
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
MANIFESTS = [each for each in yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "arena.yaml").read_text()) if each]
RUNNING = [each for each in MANIFESTS if "template" in each.get("spec", {})]
NAMES = {f"ARENA_{name.upper()}" for name in Settings.model_fields}


def test_the_compose_file_fits_the_published_schema() -> None:
    jsonschema.validate(COMPOSE, json.loads(SCHEMA.read_text()), cls=jsonschema.Draft201909Validator)


def test_every_process_is_a_service_and_its_command_exists() -> None:
    assert set(OURS) == {"exex", "bridge", "scraper", "whitelist", "worker"}
    assert {each["command"][0] for each in OURS.values()} <= set(MODULES)
    assert OURS["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("service", OURS)
def test_every_setting_reaches_every_service(service: str) -> None:
    assert set(OURS[service]["environment"]) == NAMES - {"ARENA_WEB_HOST", "ARENA_WEB_ADVERTISED"}


def test_volumes_that_are_named_are_declared() -> None:
    mounts = [mount for each in COMPOSE["services"].values() for mount in each.get("volumes", [])]
    named = {match[1] for mount in mounts if (match := re.match(r"(?:\$\{\w+:-)?(\w+)\}?:/", mount))}

    assert named == set(COMPOSE["volumes"])


def test_processes_are_stopped_no_sooner_than_they_can_end() -> None:
    graces = [int(each["stop_grace_period"].removesuffix("s")) for each in OURS.values()]
    units = [int(_unit(path)["Service"]["TimeoutStopSec"]) for path in UNITS]
    pods = [_pod(each).get("terminationGracePeriodSeconds", 30) for each in RUNNING]

    assert min([*graces, *units, *pods]) > STOPPING_S


@pytest.mark.parametrize("path", UNITS, ids=lambda path: str(path.name))
def test_a_unit_runs_a_command_that_exists_without_rights(path: Any) -> None:
    service = _unit(path)["Service"]
    command = service["ExecStart"].split(" -m commands ")[1].split()[0]

    assert command in {*MODULES, "%i"}
    assert (service["User"], service["NoNewPrivileges"]) == ("arena", "yes")


def test_manifests_name_settings_and_commands_that_exist() -> None:
    config = next(each for each in MANIFESTS if each["kind"] == "ConfigMap")
    containers = [container for each in RUNNING for container in _pod(each)["containers"]]
    variables = {each["name"] for container in containers for each in container.get("env", [])}

    assert set(config["data"]) | (variables - {"POD"}) <= NAMES
    assert {container["args"][0] for container in containers} == {"worker", "exex", "bridge", "scraper"}


def test_the_health_check_asks_a_worker_at_healthz_and_the_others_at_their_metrics() -> None:
    assert address("docker-init\0--\0python\0-m\0commands\0worker\0").endswith(":6066/healthz")
    assert address("python\0-m\0commands\0bridge\0").endswith(":9100/metrics")


def _unit(path: Any) -> RawConfigParser:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # the documented way to keep the case
    parser.read(path)
    return parser


def _pod(manifest: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return pod
