"""`arena demo`."""

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from commands.output import json_option


@click.command(epilog="Example: ./arena demo --workers 2 --keep")
@click.option("--blocks", default=60, show_default=True, help="How many blocks of traffic.")
@click.option("--rate", default=4.0, show_default=True, help="Blocks per second.")
@click.option("--seed", default=1, show_default=True, help="Of the traffic's random choices.")
@click.option("--workers", default=1, show_default=True)
@click.option("--partitions", default=4, show_default=True)
@click.option("--web-port", type=int, help="Of the first worker; a free one unless given.")
@click.option("--keep", is_flag=True, help="Leave it running, with traffic, until Ctrl-C.")
@click.option("--logs", type=click.Path(path_type=Path), help="Where to keep the processes' logs.")
@json_option
def demo(**options: Any) -> None:
    """Run everything on a chain of its own, then compare every field of every pool with that chain."""
    try:
        run = importlib.import_module("lab.demo.run")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the demo needs the development packages ({error.name} is missing): run ./arena demo in a clone"
        ) from error
    sys.exit(run.run(run.DemoOptions(**options)))
