"""`arena profile`: how fast this node's pools are read, and how large batches may be."""

import asyncio
import sys
from typing import Any

import click
import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from commands.output import json_option, print_json
from commands.throughput import Meter, Rate, Timing, rates
from protocols.registry import NAMES
from protocols.types import PoolMetadata
from settings import Settings, settings
from streams.bridge.pool_listing import read_listed
from streams.node.client import connect_node
from streams.scraper.batch_size import BatchConfig, batch_config
from streams.snapshots.sampling import sample

ELSEWHERE = "; --sample finds some in the node's logs"
LIST_TIMEOUT_S = 20.0
WIDTH = 110
PHASES = {"filtering": "Filtering phase (price and liquidity)", "full_ticks": "Full tick collection"}


class NoPools(click.ClickException):
    """No pool to read was found."""


class ProfileOptions(msgspec.Struct, frozen=True):
    sample: int | None
    rounds: int
    warm_up: int
    as_json: bool


@click.command(epilog="Example: ./arena profile --sample 100")
@click.option(
    "--sample", type=click.IntRange(min=1), help="So many pools of each protocol, from the node's latest logs."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--warm-up", default=1, show_default=True, type=click.IntRange(min=0), help="Rounds that do not count.")
@json_option
def profile(**options: Any) -> None:
    """How fast the node's pools are read, and how large batches may be. Reads the list's pools, and only reads."""
    run(settings(), ProfileOptions(**options))


def run(settings: Settings, options: ProfileOptions) -> None:
    """Raises NoPools, and what reading raises."""
    config = batch_config(settings)
    pools, timings = asyncio.run(_measure(settings, config, options))
    found = rates(timings, config)
    if options.as_json:
        counts = {protocol: sum(pool.protocol == protocol for pool in pools) for protocol in NAMES}
        print_json({"budget_s": config.budget_s, "pools": counts, "rates": msgspec.to_builtins(found)})
        return
    _tell(found, config)


async def _measure(
    settings: Settings, config: BatchConfig, options: ProfileOptions
) -> tuple[list[PoolMetadata], list[Timing]]:
    async with connect_node(settings) as node:
        pools = await (_listed(settings) if options.sample is None else sample(node, options.sample))
        if not pools:
            where = f"the topic {settings.chain}.whitelist" if options.sample is None else "the logs of the last blocks"
            raise NoPools(f"there are no pools in {where}" + (ELSEWHERE if options.sample is None else ""))
        meter = Meter(node, settings, config)
        timings = []
        columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
            total = len(meter.batches(pools)) * (options.rounds + options.warm_up)
            task = progress.add_task("batches", total=total)
            async for timing in meter.measure(pools, options.rounds, options.warm_up):
                timings.append(timing)
                progress.update(task, advance=1, description=f"{timing.protocol} {timing.phase}")
    return pools, timings


async def _listed(settings: Settings) -> list[PoolMetadata]:
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            return [record.pool for record in (await read_listed(settings)).values()]
    except (KafkaError, TimeoutError) as error:
        raise NoPools(f"the list on Kafka at {settings.kafka} cannot be read ({error!r}){ELSEWHERE}") from error


def _tell(found: list[Rate], config: BatchConfig) -> None:
    console = Console()
    console.width = max(console.width, WIDTH)  # into a file or a pipe nothing is cut off
    for phase, title in PHASES.items():
        names = ("", "pools/s", "slowest tenth", "ticks/s", "batch p50", "p90", "p99", "unread", "batch size")
        table = Table(*(Column(name, justify="right", no_wrap=True) for name in names), title=title, box=None)
        for rate in (each for each in found if each.phase == phase):
            table.add_row(
                rate.protocol.upper(),
                f"{rate.pools_per_second:,.1f}",
                f"{rate.slowest_pools_per_second:,.1f}",
                f"{rate.ticks_per_second:,.0f}",
                *(f"{each:.3f} s" for each in (rate.batch_seconds_p50, rate.batch_seconds_p90, rate.batch_seconds_p99)),
                f"{rate.unread} of {rate.pools_per_batch}",
                f"{rate.batch_size:,}",
            )
        if table.row_count:
            console.print(table)
    console.print(
        f"Batch size: what is read in {config.budget_s:g} s, "
        f"{config.safety_margin:.0%} of a block of {config.block_time_seconds:g} s (ARENA_SCRAPER_BLOCK_TIME_S)."
    )
