"""The script `arena` sets up packages where a command needs them, and for help and the version only where it must."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands.version import version
from tests.support.files import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Without .venv; a uv that fails stands in for the package index."""
    for name in ("arena", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.lock").write_text("changed\n")
    _write_program(tmp_path / "bin" / "uv", "echo synced >&2; exit 1")
    return tmp_path


def _write_program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def arena(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "arena", *arguments],
        env={"PATH": f"{clone / 'bin'}:/usr/bin:/bin", "ARENA_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["pool", "--help"], ["--version"]])
def test_help_and_version_do_not_wait_for_packages(clone: Path, arguments: list[str]) -> None:
    _write_program(clone / ".venv" / "bin" / "python", 'echo "$@"')

    assert arena(clone, *arguments).stdout == " ".join(["-m", "commands", *arguments]) + "\n"


def test_the_version_is_known_without_packages(clone: Path) -> None:
    assert arena(clone, "--version").stdout == f"pool-state-arena {version()}\n"


def test_help_that_needs_newer_packages_sets_them_up(clone: Path) -> None:
    _write_program(clone / ".venv" / "bin" / "python", "exit 1")

    assert "synced" in arena(clone, "--help").stderr


def test_a_command_sets_up_packages_where_the_lock_file_has_changed(clone: Path) -> None:
    _write_program(clone / ".venv" / "bin" / "python", 'echo "$@"')

    assert "synced" in arena(clone, "status").stderr
