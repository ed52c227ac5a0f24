"""Every command has its help, an example, and JSON where it prints something."""

import tomllib
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from commands.__main__ import MODULES, arena
from tests.support.files import ROOT

PROCESSES = {"up", "worker", "bridge", "exex", "scraper", "whitelist run"}
"""They print log lines only."""


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


COMMANDS = dict(commands(arena))
every_command = pytest.mark.parametrize("name", COMMANDS)


def invoked(*arguments: str) -> str:
    result = CliRunner().invoke(arena, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@every_command
def test_every_command_says_what_it_is_for(name: str) -> None:
    help_text = COMMANDS[name].help

    assert help_text is not None
    assert " ".join(help_text.split()) in " ".join(invoked(*name.split(), "--help").split())


@every_command
def test_every_command_has_an_example_that_names_it(name: str) -> None:
    assert f"./arena {name}" in (COMMANDS[name].epilog or "")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - PROCESSES - {"whitelist"}))
def test_every_command_that_prints_an_answer_prints_json_too(name: str) -> None:
    assert "--json" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_the_commands_are_listed_in_the_order_of_the_registry() -> None:
    assert arena.list_commands(click.Context(arena)) == list(MODULES)


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert invoked("--version") == f"{project['name']} {project['version']}\n"


def test_an_unknown_command_is_refused() -> None:
    assert "No such command 'pol'" in CliRunner().invoke(arena, ["pol"]).output
