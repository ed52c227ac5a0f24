"""The benchmark measures what it says: every way to read gives the same states. (Its figures are not tested.)"""

import json
import subprocess
import sys

import pytest

from tests.support.files import ROOT

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]


def test_all_ways_to_read_agree() -> None:
    few = ["--v2", "3", "--v3", "4", "--v4", "4", "--dense", "1", "--dense-ticks", "60"]
    command = [sys.executable, "-m", "lab.bench.scrape", "--rounds", "1", *few, "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(done.stdout)}
    assert len(rows) == 5
    assert [row["pools"] for row in rows.values()] == [11, 11, 11, 11, 1]
    assert rows["ours"]["ours_is_faster"] == {"median": 1.0, "from": 1.0, "to": 1.0}


def test_quotes_equal_those_of_the_quoter_contracts() -> None:
    few = ["--rounds", "1", "--per-pool", "5", "--no-peers", "--json"]
    command = [sys.executable, "-m", "lab.bench.quotes", *few]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert [row["quoted by"] for row in measured["quotes"]] == ["ours", "the quoter contracts"]
    assert measured["quotes"][0]["quotes"] == 45
    assert measured["quotes"][1]["quotes"] > 10


def test_a_worker_is_measured_and_answers_every_state_of_the_chain() -> None:
    command = [sys.executable, "-m", "lab.bench.worker", "--pools", "30", "--blocks", "20", "--live", "3", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["events"] == 20 * 400
    assert 0 < measured["changelog_bytes"] < 1_000
    assert measured["longest_turns"]["+Inf"] > 0
