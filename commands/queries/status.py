"""`arena status`."""

import click

from commands.output import json_option, plain, print_json, print_table
from commands.queries.worker_client import ask
from settings import settings

COLUMNS = ("partition", "worker", "ready", "head", "lag_blocks", "lag_seconds", "pools")


@click.command(epilog="Example: ./arena status --json")
@json_option
def status(as_json: bool) -> None:
    """Each partition's head and lag, and how many pools are live or waiting, and why."""
    found = ask(settings(), "/status/", {})
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, found["partitions"])
    click.echo(f"{found['chain']}: head {found['head']}, {plain(found['pools'])}")
    for reason, count in found["reasons"].items():
        click.echo(f"{count} waiting: {reason}")
