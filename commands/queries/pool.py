"""`arena pool`."""

from urllib.parse import quote

import click

from commands.output import json_option, print_fields, print_json, print_table
from commands.queries.worker_client import ask
from settings import settings


@click.command(epilog="Example: ./arena pool 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640 --ticks")
@click.argument("pool_id", metavar="ID")
@click.option("--at", type=int, help="A block in the worker's memory, instead of the head.")
@click.option("--ticks", is_flag=True, help="Every initialised tick.")
@json_option
def pool(pool_id: str, at: int | None, ticks: bool, as_json: bool) -> None:
    """What is known of a pool: status, block, state."""
    query = {} if at is None else {"at": str(at)}
    found = ask(settings(), f"/pools/{quote(pool_id)}/", query)
    if ticks:
        found |= {"ticks": ask(settings(), f"/pools/{quote(pool_id)}/ticks/", query)["ticks"]}
    if as_json:
        print_json(found)
        return
    fields = {name: value for name, value in found.items() if name not in ("state", "ticks")}
    print_fields(fields | (found["state"] or {}))
    if ticks:
        print_table(("tick", "liquidity_gross", "liquidity_net"), found["ticks"])
