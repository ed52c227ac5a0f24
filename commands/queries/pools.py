"""`arena pools`."""

from typing import Any

import click

from commands.output import json_option, print_json, print_table
from commands.queries.worker_client import ask
from protocols.registry import NAMES
from settings import settings


@click.command(epilog="Example: ./arena pools --status waiting")
@click.option("--protocol", type=click.Choice(NAMES))
@click.option("--status", type=click.Choice(["live", "waiting"]))
@click.option("--token", help="Address of either token.")
@json_option
def pools(protocol: str | None, status: str | None, token: str | None, as_json: bool) -> None:
    """All pools, one line each."""
    filters = {"protocol": protocol, "status": status, "token": token}
    found = _every_page({name: value for name, value in filters.items() if value})
    if as_json:
        print_json({"pools": found})
        return
    print_table(("id", "protocol", "fee", "status", "block", "reason"), found)
    click.echo(f"{len(found)} pools")


def _every_page(filters: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = ask(settings(), "/pools/", filters | cursor)
        found += page["pools"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}
