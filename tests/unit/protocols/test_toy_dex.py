"""Adding a DEX is one module in protocols/ and one line in its registry: a toy goes the whole way, from log to HTTP."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
TOY = ROOT / "tests" / "toy_dex"
POOL = "0x" + "70" * 20
LAST_LINE = '    "v4",\n'


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a system makes of the toy whose only differences are the module and the line."""
    path = tmp_path_factory.mktemp("with_a_toy")
    protocols = path / "protocols"
    shutil.copytree(ROOT / "protocols", protocols, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOY / "toy.py", protocols)
    registry = (protocols / "registry.py").read_text()
    assert registry.count(LAST_LINE) == 1
    (protocols / "registry.py").write_text(registry.replace(LAST_LINE, LAST_LINE + '    "toy",\n'))
    run = subprocess.run(
        [sys.executable, TOY / "journey.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_its_logs_become_its_events(stages: Any) -> None:
    assert stages["decoded"] == {
        "protocol": "toy",
        "pool": POOL,
        "emitter": POOL,
        "event": {"type": "balances", "balance0": 5, "balance1": 2**100},
    }


def test_its_state_is_what_its_getter_answers_and_its_events_change(stages: Any) -> None:
    assert stages["read"] == {"type": "toy", "balance0": 3, "balance1": 4}
    assert stages["folded"] == {"type": "toy", "balance0": 5, "balance1": 2**100}


def test_its_rows_are_loaded_again_and_answered_over_http(stages: Any) -> None:
    assert (stages["http"]["protocol"], stages["http"]["status"]) == ("toy", "live")
    assert stages["http"]["state"] == {"balance0": "5", "balance1": str(2**100)}
    assert stages["http_before"]["state"] == {"balance0": "3", "balance1": "4"}
