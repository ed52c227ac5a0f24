"""What the documents name exists: alerts, commands with their options, settings, make targets, metrics, links."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from commands.__main__ import arena
from settings import Settings
from streams.kafka.topics import topics
from tests.support.files import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
ALERTS = {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
SETTINGS = {f"ARENA_{name.upper()}" for name in Settings.model_fields}
FOLDERS = ("deploy", "lab", "protocols", "replay", "streams", "tables", "tests", "web", "whitelist")
BY_THE_SCRIPT = {"setup"}
"""Commands of the script `arena` itself."""
OF_OTHERS = {
    "ARENA_EXEX_DIR",  # docker-compose.yml
    "ARENA_URL",  # the client's notebooks
    "ARENA_PYTHON",  # the script `arena`
}
COMMAND = re.compile(r"(?:\./|`)arena ([a-z][^`\n#|;)]*)")
"""As a person would type it: the rest of the line or of the code."""
FENCE = re.compile(r"^( {4}.*|```.*?^```)$", re.MULTILINE | re.DOTALL)

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def text(document: Path) -> str:
    return document.read_text()


@documents
def test_every_command_exists_with_its_options(document: Path) -> None:
    wrong = [problem for typed in COMMAND.findall(text(document)) for problem in _problems(typed.split())]

    assert wrong == []


def _problems(words: list[str]) -> Iterator[str]:
    """Of one command line without `arena`."""
    command: click.Command = arena
    typed = " ".join(words)
    context = click.Context(arena)
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z|-]*", words[0].rstrip(".,:")):
        names = words.pop(0).rstrip(".,:").split("|")
        found = [command.get_command(context, name) for name in names]
        if None in found:
            if command is arena and not BY_THE_SCRIPT.issuperset(names):
                yield f"arena {typed}: no such command"
            return
        assert found[0] is not None
        command = found[0]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("--") and word.rstrip(".,:") not in options:
            yield f"arena {typed}: no option {word}"


def test_a_wrong_command_and_a_wrong_option_are_noticed() -> None:
    assert list(_problems(["explain", "ID"])) == ["arena explain ID: no such command"]
    assert list(_problems(["whitelist", "diff", "--first"])) == ["arena whitelist diff --first: no option --first"]
    assert list(_problems(["whitelist", "diff", "--last"])) == []


@documents
def test_every_setting_exists(document: Path) -> None:
    named = set(re.findall(r"ARENA_[A-Z0-9_]*[A-Z0-9]\b", text(document)))

    assert named - SETTINGS - OF_OTHERS == set()


@documents
def test_every_make_target_and_variable_exists(document: Path) -> None:
    makefile = text(ROOT / "Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    lines = re.findall(r"(?:^ {4}|`)make ([a-z-]+)((?: [A-Z0-9]+=[^ `\n]*)*)", text(document), re.MULTILINE)
    variables = {name for _, given in lines for name in re.findall(r"([A-Z0-9]+)=", given)}

    assert {target for target, _ in lines} <= targets
    assert {name for name in variables if f"$({name})" not in makefile} == set()


@documents
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    broken = []
    for target, _, heading in re.findall(r"\]\(([^)#\s]*)(#([^)\s]*))?\)", text(document)):
        path = document.parent / target if target else document
        if "://" in target or target.startswith("mailto:"):
            continue
        if not path.exists() or (heading and path.suffix == ".md" and heading not in _headings(path)):
            broken.append(f"{target}#{heading}" if heading else target)

    assert broken == []


def _headings(document: Path) -> set[str]:
    """As GitHub names them in links."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text(document)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@documents
def test_every_path_in_code_exists(document: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", text(document))

    assert [path for path in named if not (ROOT / path).exists()] == []


@documents
def test_every_metric_exists(document: Path) -> None:
    folders = ("streams", "tables", "web", "whitelist")
    code = "".join(text(path) for folder in folders for path in (ROOT / folder).rglob("*.py"))
    named = set(re.findall(r"\barena_[a-z_]*[a-z]\b", text(document)))
    defined = set(re.findall(r'"(arena_[a-z_]+)"', code))

    assert {name for name in named if name not in defined and name.removesuffix("_total") not in defined} == set()


def test_operations_says_for_each_alert_what_to_do() -> None:
    operations = text(ROOT / "docs" / "operations.md")
    explained = set(re.findall(r"^\*\*(Arena\w+)\*\* \((?:page|ticket)\)\. \S", operations, re.MULTILINE))

    assert explained == ALERTS


def test_operations_has_the_severities_of_the_rules() -> None:
    operations = text(ROOT / "docs" / "operations.md")
    severities = {rule["alert"]: rule["labels"]["severity"] for group in RULES["groups"] for rule in group["rules"]}

    assert dict(re.findall(r"^\*\*(Arena\w+)\*\* \((page|ticket)\)", operations, re.MULTILINE)) == severities


def test_operations_names_each_topic() -> None:
    operations = text(ROOT / "docs" / "operations.md")

    assert [name for name in topics("x") if f"| `{name.removeprefix('x.')}` |" not in operations] == []
