"""`arena exex`."""

import click

from commands.processes.lifecycle import run_until_stopped


@click.command(epilog="Example: ARENA_RPC=ws://localhost:8546 ./arena exex")
def exex() -> None:
    """Feed the socket from any node: its blocks' logs, filtered by the whitelist."""
    run_until_stopped("streams.feed.process")
