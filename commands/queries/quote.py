"""`arena quote`."""

from urllib.parse import quote as quoted

import click

from commands.output import json_option, print_fields, print_json
from commands.queries.worker_client import ask
from settings import settings

SHOWN = (
    "pool",
    "block",
    "token_in",
    "token_out",
    "amount_in",
    "amount_out",
    "fee_amount",
    "price_before",
    "price_after",
    "tick_after",
    "ticks_crossed",
    "price_impact",
)


@click.command(
    epilog="Example: ./arena quote 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640 "
    "--token-in 0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2 --amount-in 1000000000000000000"
)
@click.argument("pool_id", metavar="POOL")
@click.option("--token-in", required=True, metavar="ADDRESS", help="The token that goes in.")
@click.option("--amount-in", metavar="N", help="An exact input, in the token's smallest unit.")
@click.option("--amount-out", metavar="N", help="An exact output, in the token's smallest unit.")
@click.option("--price-limit", metavar="N", help="A sqrt price as Q64.96, where the swap stops.")
@click.option("--at", metavar="BLOCK", help="A block in the worker's memory, instead of the head.")
@json_option
def quote(pool_id: str, as_json: bool, **asked: str | None) -> None:
    """What a swap would settle, to the wei."""
    query = {name: value for name, value in asked.items() if value is not None}
    found = ask(settings(), f"/pools/{quoted(pool_id)}/quote", query)
    if as_json:
        print_json(found)
        return
    print_fields({name: found[name] for name in SHOWN})
