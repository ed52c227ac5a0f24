"""`arena config`."""

from typing import Any

import click
from pydantic import SecretStr

from commands.output import json_option, print_json
from settings import settings
from streams.secret_url import SecretUrl


@click.command(epilog="Example: ./arena config --json")
@json_option
def config(as_json: bool) -> None:
    """The settings in force, secrets and what may be one in a URL masked."""
    shown = {f"ARENA_{name.upper()}": _shown(value) for name, value in settings()}
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"{name}={'' if value is None else value}")


def _shown(value: Any) -> Any:
    if isinstance(value, SecretUrl):
        return str(value)
    if isinstance(value, SecretStr):
        return "********"
    return value if value is None or isinstance(value, bool | int | float) else str(value)
