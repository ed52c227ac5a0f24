"""What ruff, mypy and import-linter do not check."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]


def test_a_worker_imports_every_agent() -> None:
    imported = set(re.findall(r"^import (agents\.\w+)$", (ROOT / "worker.py").read_text(), re.MULTILINE))

    assert imported == {f"agents.{path.stem}" for path in (ROOT / "agents").glob("*.py") if path.stem != "__init__"}


def test_every_setting_is_told_of_by_a_docstring_or_by_the_readme() -> None:
    source = (ROOT / "settings.py").read_text()
    readme = (ROOT / "README.md").read_text()
    names = re.findall(r"^    (\w+): [^\n]+\n(    \"\"\")?", source, re.MULTILINE)

    obvious = {"kafka_username", "kafka_password", "kafka_sasl_mechanism", "kafka_replication", "nats_tls_ca"}
    untold = {name for name, docstring in names if not docstring and f"ARENA_{name.upper()}" not in readme}
    assert untold - obvious == set()


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = [
        f"{path.name}: {target}"
        for path in tracked("*.md")
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]

    assert broken == []
