"""`arena backfill`: a past range of blocks from the node into topics of its own, for `arena replay --topics`."""

import asyncio
import re
from pathlib import Path
from typing import Any

import click
import msgspec

from commands.history.pool_ids import pool_ids
from commands.history.progress import progress_bars
from commands.output import json_option, print_fields, print_json
from replay.backfill.plan import make_plan
from replay.backfill.run import Backfilled, Request
from replay.backfill.run import backfill as copy_range
from settings import settings

RANGE = re.compile(r"(\d{1,18}):(\d{1,18})")


class Options(msgspec.Struct, frozen=True):
    blocks: str
    pools: str | None
    whitelist: Path | None
    snapshots_at: int | None
    name: str | None
    as_json: bool


@click.command(epilog="Example: ./arena backfill --blocks 21000000:21001000 --name november")
@click.option("--blocks", required=True, metavar="A:B", help="The first and the last block.")
@click.option("--pools", metavar="ID,ID,…", help="Only these of the list.")
@click.option("--whitelist", type=click.Path(path_type=Path), help="The list: a file instead of the live topic.")
@click.option("--at", "snapshots_at", type=click.IntRange(min=0), metavar="BLOCK", help="Of the snapshots; else A - 1.")
@click.option("--name", help="Of the topics {chain}-backfill-NAME.*; by default A-B.")
@json_option
def backfill(**arguments: Any) -> None:
    """Copy past blocks from the node into topics of their own: snapshots first, then every block.

    A run that was stopped or killed goes on where it was. The node needs the state of the block of the snapshots and
    the logs of the range. Nothing is written to the live topics.
    """
    options = Options(**arguments)
    match = RANGE.fullmatch(options.blocks)
    if match is None:
        raise click.BadParameter(f"{options.blocks!r} is not two block numbers, A:B", param_hint="--blocks")
    plan = make_plan(int(match[1]), int(match[2]), options.snapshots_at, options.name)
    request = Request(plan, pool_ids(options.pools), options.whitelist)
    with progress_bars(quiet=options.as_json) as bars:
        done = asyncio.run(copy_range(settings(), request, bars.update))
    _print(done, plan.name, as_json=options.as_json)


def _print(done: Backfilled, name: str, *, as_json: bool) -> None:
    fields = msgspec.to_builtins(done)
    if as_json:
        print_json(fields)
        return
    print_fields({**fields, "without_state": len(done.without_state)})
    click.echo(f"./arena replay --topics {name} --until {done.last}")
