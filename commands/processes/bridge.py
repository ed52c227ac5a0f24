"""`arena bridge`."""

import click

from commands.processes.lifecycle import run_until_stopped


@click.command(epilog="Example: ./arena bridge")
def bridge() -> None:
    """Put the socket's events and the NATS whitelist onto Kafka topics."""
    run_until_stopped("streams.bridge.process")
