import sys
from pathlib import Path

from commands.processes.supervisor import Part
from commands.processes.supervisor import parts as parts_of
from settings import Settings, settings


def test_up_runs_all_parts_and_gives_each_worker_a_port() -> None:
    parts = parts_of(settings(), workers=2)

    assert [part.name for part in parts] == ["exex", "bridge", "scraper", "worker:6066", "worker:6067"]
    assert parts[-1] == Part("worker:6067", (sys.executable, "-m", "commands", "worker"), {"ARENA_WEB_PORT": "6067"})


def test_up_gives_each_part_a_port_for_its_metrics() -> None:
    parts = parts_of(Settings(metrics_port=7000), workers=1)

    ports = {part.name: part.environment.get("ARENA_METRICS_PORT") for part in parts}
    assert ports == {"exex": "7000", "bridge": "7001", "scraper": "7002", "worker:6066": None}


def test_up_runs_the_whitelist_where_its_configuration_is_set(tmp_path: Path) -> None:
    parts = parts_of(Settings(whitelist_config=tmp_path / "w.toml", metrics_port=7000), workers=1)

    (whitelist,) = (part for part in parts if part.name == "whitelist")
    assert list(whitelist.command[-2:]) == ["whitelist", "run"]
    assert whitelist.environment == {"ARENA_METRICS_PORT": "7003"}
    assert "whitelist" not in [part.name for part in parts_of(Settings(), workers=1)]
