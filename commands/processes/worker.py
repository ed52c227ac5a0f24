"""`arena worker`: `faust -A worker worker` with the settings applied."""

import asyncio
import importlib
import os
import sys

import click

from settings import Settings, settings


@click.command(context_settings={"ignore_unknown_options": True}, epilog="Example: ARENA_WEB_PORT=6067 ./arena worker")
@click.option(
    "--rebuild",
    "application",
    is_flag=False,
    flag_value="",
    metavar="[APPLICATION]",
    help="Fill the table of another application from the start of the topics, beside the workers that run, and end.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(application: str | None, arguments: tuple[str, ...]) -> None:
    """Fold the topics into tables and answer HTTP; ARGUMENTS go to `faust -A worker worker`."""
    level = {"warning": "warn"}.get(os.environ["ARENA_LOG_LEVEL"], os.environ["ARENA_LOG_LEVEL"])
    faust = [sys.executable, "-m", "faust", "--loop", "uvloop", "-A", "worker"]
    command = [*faust, "worker", "--loglevel", level, *arguments]
    settings()
    if application is None:
        os.execv(sys.executable, command)
    _rebuild(application, command)


def _rebuild(application: str, command: list[str]) -> None:
    """An application without a name is called after the layout of the rows."""
    name = application or f"{settings().chain}-arena-{importlib.import_module('tables.rows').LAYOUT}"
    if name == settings().application_id:
        raise click.BadParameter(f"{name} is the application in use; name another", param_hint="--rebuild")
    rebuild = importlib.import_module("commands.processes.rebuild").rebuild
    block = asyncio.run(rebuild(Settings(application=name), command))
    click.echo(
        f"{name} is complete at block {block.number}. Set ARENA_APPLICATION={name} and start the workers with it; "
        "then stop those without."
    )
