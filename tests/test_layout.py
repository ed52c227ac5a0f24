"""What ruff, mypy and import-linter do not check: sizes, places, words."""

import ast
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("agents", "commands", "protocols", "replay", "streams", "tables", "web", "whitelist")
FOLDERS = {*PRODUCT, "client", "deploy", "docs", "lab", "replay", "tests"}
MOST_FILES = 12
TOO_LARGE: set[str] = set()
"""Folders still to be split; the list may only get shorter, and so may the next two."""
TOO_LONG: set[str] = set()
TO_REWORD: set[str] = set()
MOST_LINES = 250
MOST_FUNCTION_LINES = 45
UNCLEAR = re.compile(
    r"stranger|sufferer|wishes|\bseat\b|patien|whoever|\bhear(s|d|ing)?\b|\bentrance\b|\bjudge(s|d)?\b"
    r"|\btold\b|\bought\b|\b(TODO|FIXME|NOTE)\b",
    re.IGNORECASE,
)
"""Words that docs and code replace with the field's own, and marks of unfinished work."""
INTERFACE = re.compile(r"(ARENA_)?(kafka|bridge)_patience_s|tag=\"told\"", re.IGNORECASE)
"""Names of settings and of stored records stay as they are."""

DEX = re.compile(
    r"protocols\.(v\d|pancake)|^'(v\d|uniswap\w*|pancake\w*)'$|^(V\d|Uniswap|Pancake)[A-Z]\w*$", re.IGNORECASE
)
NAMES_A_DEX = {
    "streams/exex/seed.py",  # a wire that has V3 only
    "streams/nats/whitelist_decoder.py",  # lists spell v2 as UniswapV2, too
    "streams/scraper/batch_size.py",  # settings that people write
    "whitelist/configuration.py",  # likewise
}
"""Files outside protocols/ that have to name one."""


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree(path)))


def code() -> list[Path]:
    return [path for path in tracked("*.py") if path.name != "__init__.py"]


def product() -> list[Path]:
    return [path for path in code() if path.parent == ROOT or name(path).startswith(tuple(f"{p}/" for p in PRODUCT))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_top_folders_are_those_of_the_design() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}

    assert {folder for folder in folders if not folder.startswith(".")} <= FOLDERS


def test_no_folder_has_more_files_than_a_reader_can_keep_apart() -> None:
    counts = Counter(name(path.parent) for path in code())

    assert {folder for folder, count in counts.items() if count > MOST_FILES} - TOO_LARGE == set()


def test_no_file_of_the_product_is_too_long() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in product()}

    assert {path for path, lines in lengths.items() if lines > MOST_LINES} - TOO_LONG == set()


def test_no_function_of_the_product_is_too_long() -> None:
    lengths = {
        f"{name(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in product()
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }

    assert {function: lines for function, lines in lengths.items() if lines > MOST_FUNCTION_LINES} == {}


def test_every_file_says_its_role() -> None:
    silent = [
        name(path) for path in code() if not name(path).startswith("tests/") and ast.get_docstring(tree(path)) is None
    ]

    assert silent == []


def test_only_protocols_names_a_dex() -> None:
    named = {
        name(path)
        for path in product()
        if not name(path).startswith("protocols/")
        for node in nodes(path)
        if DEX.search(_names(node))
    }

    assert named == NAMES_A_DEX


def _names(node: ast.AST) -> str:
    """What is imported, a name, or a whole string literal; the pattern matches no prose."""
    match node:
        case ast.ImportFrom():
            return " ".join([f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)])
        case ast.Import():
            return " ".join(alias.name for alias in node.names)
        case ast.Constant(value=str(text)):
            return f"'{text}'"
        case ast.Name(id=text) | ast.Attribute(attr=text):
            return text
    return ""


def test_no_file_has_a_vague_name() -> None:
    vague = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

    assert [name(path) for path in code() if path.stem in vague] == []


def test_no_archaic_words() -> None:
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in tracked("*.py", "Makefile", "arena", "*.toml", "*.yml", ".ci/*")
        if path != Path(__file__) and name(path) not in TO_REWORD
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNCLEAR.search(INTERFACE.sub("", line))
    ]

    assert found == []


def test_errors_that_docstrings_name_exist() -> None:
    known = {
        getattr(each, "asname", None) or getattr(each, "id", None) or getattr(each, "name", None)
        for path in code()
        for each in nodes(path)
        if isinstance(each, ast.ClassDef | ast.Name | ast.alias)
    }
    named = {
        (name(path), error)
        for path in code()
        for each in nodes(path)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for listed in re.findall(r"[Rr]aises? ([^.]*)", ast.get_docstring(each) or "")
        for error in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", listed)
    }

    assert {(path, error) for path, error in named if error not in known} == set()


def test_the_product_never_blocks_its_event_loop_by_sleeping() -> None:
    assert [name(path) for path in product() if "time.sleep(" in path.read_text()] == []


def test_a_worker_imports_every_agent() -> None:
    imported = set(re.findall(r"^import (agents\.\w+)$", (ROOT / "worker.py").read_text(), re.MULTILINE))

    assert imported == {f"agents.{path.stem}" for path in (ROOT / "agents").glob("*.py") if path.stem != "__init__"}


def test_every_setting_has_a_docstring_or_stands_in_the_readme() -> None:
    source = (ROOT / "settings.py").read_text()
    readme = (ROOT / "README.md").read_text()
    names = re.findall(r"^    (\w+): [^\n]+\n(    \"\"\")?", source, re.MULTILINE)

    obvious = {"kafka_username", "kafka_password", "kafka_sasl_mechanism", "kafka_replication", "nats_tls_ca"}
    untold = {name for name, docstring in names if not docstring and f"ARENA_{name.upper()}" not in readme}
    assert untold - obvious == set()


def test_every_command_stands_in_the_readme() -> None:
    source = (ROOT / "commands" / "__main__.py").read_text()
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r'^    "([\w-]+)": "commands\.', source, re.MULTILINE)

    assert [
        command for command in commands if f"arena {command}" not in readme and f"make {command}" not in readme
    ] == []


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = [
        f"{path.name}: {target}"
        for path in tracked("*.md")
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]

    assert broken == []


def test_files_that_the_documents_name_exist() -> None:
    missing = [
        f"{path.name}: {named}"
        for path in tracked("*.md")
        for named in re.findall(r"`((?:[a-z]+/)+[\w.]+\.(?:py|toml|md))`", path.read_text())
        if named.split("/")[0] in FOLDERS and not (ROOT / named).exists()
    ]

    assert missing == []
