"""`arena scraper`."""

import click

from commands.processes.lifecycle import run_until_stopped


@click.command(epilog="Example: ./arena scraper")
def scraper() -> None:
    """Take the snapshots that workers ask for, each at one block."""
    run_until_stopped("streams.scraper.process")
