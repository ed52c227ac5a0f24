"""`arena dead-letters`."""

import asyncio

import click
import msgspec

from commands.output import json_option, print_json, print_table
from settings import settings
from streams.kafka.dead_letters import StoredLetter, stored_letters
from streams.kafka.dead_letters import replay as send_again

COLUMNS = ("name", "topic", "partition", "offset", "key", "error")


@click.group("dead-letters", invoke_without_command=True, epilog="Example: ./arena dead-letters --json")
@json_option
@click.pass_context
def dead_letters(context: click.Context, as_json: bool) -> None:
    """Records that could not be read or applied; `replay NAME` sends one again."""
    if context.invoked_subcommand is not None:
        return
    rows = [_row(stored) for stored in asyncio.run(stored_letters(settings()))]
    if as_json:
        print_json({"dead_letters": rows})
        return
    print_table(COLUMNS, rows)
    click.echo(f"{len(rows)} dead letters")


def _row(stored: StoredLetter) -> dict[str, object]:
    return {"name": stored.name, "timestamp_ms": stored.timestamp_ms, **msgspec.structs.asdict(stored.letter)}


@dead_letters.command(epilog="Example: ./arena dead-letters replay 3:17")
@click.argument("name")
@json_option
def replay(name: str, as_json: bool) -> None:
    """Send the record of a dead letter to the end of the topic that it came from."""
    letter = asyncio.run(send_again(settings(), name))
    if as_json:
        print_json({"topic": letter.topic, "partition": letter.partition, "key": letter.key})
        return
    click.echo(f"sent to {letter.topic}, partition {letter.partition}, with key {letter.key or 'none'}")
