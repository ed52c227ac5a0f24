"""`arena worker`: `faust -A worker worker` with the settings applied."""

import os
import sys

import click

from settings import settings


@click.command(context_settings={"ignore_unknown_options": True}, epilog="Example: ARENA_WEB_PORT=6067 ./arena worker")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Fold the topics into tables and answer HTTP; ARGUMENTS go to `faust -A worker worker`."""
    level = {"warning": "warn"}.get(os.environ["ARENA_LOG_LEVEL"], os.environ["ARENA_LOG_LEVEL"])
    faust = [sys.executable, "-m", "faust", "--loop", "uvloop", "-A", "worker"]
    command = [*faust, "worker", "--loglevel", level, *arguments]
    settings()
    os.execv(sys.executable, command)
