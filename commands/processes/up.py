"""`arena up`."""

import asyncio

import click

from commands.processes.supervisor import parts, run
from settings import settings


@click.command(epilog="Example: ./arena up --workers 2")
@click.option("--workers", default=1, show_default=True, help="With successive HTTP ports from ARENA_WEB_PORT.")
def up(workers: int) -> None:
    """Run the feed, the bridge, the scraper and workers on this machine; what ends is started again."""
    asyncio.run(run(parts(settings(), workers)))
