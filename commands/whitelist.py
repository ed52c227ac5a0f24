"""`./arena whitelist`: from token sources to published pools."""

import asyncio
import importlib
import json
import logging
import sys
from typing import Any

import click

from settings import settings


@click.group(epilog="Example: ./arena whitelist show WETH")
def whitelist() -> None:
    """Choose tokens, find the pools that trade them, and publish those with enough liquidity on NATS.

    What it does stands in a TOML file, ARENA_WHITELIST_CONFIG; whitelist/ethereum.toml is the default, and one to copy.
    """
    logging.getLogger("nats").setLevel(logging.CRITICAL)


@whitelist.command(epilog="Example: ./arena whitelist build --json")
@click.option("--json", "as_json", is_flag=True, help="Every decision, on stdout.")
def build(as_json: bool) -> None:
    """Decide which pools to list. Publishes nothing."""
    made = asyncio.run(_service().build_once(settings()))
    if as_json:
        _print_json(_reporting().as_json(made))
    else:
        _print(_reporting().summary(made))


@whitelist.command(epilog="Example: ./arena whitelist publish")
@click.option("--force", is_flag=True, help="Also where a large share of the list is removed.")
@click.option("--json", "as_json", is_flag=True)
def publish(force: bool, as_json: bool) -> None:
    """Build, then say on NATS what changed since the last time, and the whole list."""
    made, change = asyncio.run(_service().publish_once(settings(), force=force))
    if as_json:
        _print_json(_reporting().change_as_json(made, change))
    else:
        _print([*_reporting().summary(made), *_reporting().changes(made, change)])


@whitelist.command(epilog="Example: ARENA_METRICS_PORT=9103 ./arena whitelist run")
def run() -> None:
    """Publish again and again, hourly unless the file says otherwise, and when someone asks for the list."""
    importlib.import_module("commands.processes.lifecycle").run_until_stopped("whitelist.service")


@whitelist.command(epilog="Example: ./arena whitelist show 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640")
@click.argument("what", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True)
def show(what: str | None, as_json: bool) -> None:
    """The last build's decisions and their reasons: on all pools, on one, or on those with a token."""
    made = _last_build()
    if what is not None:
        lookup = importlib.import_module("whitelist.pools.decision_lookup")
        made = lookup.with_decision_on(made, _store(), what)
    if as_json:
        _print_json(_reporting().as_json(made, what))
    else:
        _print(_reporting().decisions(made, what))


@whitelist.command(epilog="Example: ./arena whitelist diff --last")
@click.option("--last", is_flag=True, help="Of the last build, instead of a new one.")
@click.option("--json", "as_json", is_flag=True)
def diff(last: bool, as_json: bool) -> None:
    """What publishing would change, and why. Publishes nothing."""
    made = _last_build() if last else asyncio.run(_service().build_once(settings()))
    messages = importlib.import_module("whitelist.publication.messages")
    change = messages.change(_store().published(), made.published)
    if as_json:
        _print_json(_reporting().change_as_json(made, change))
    else:
        _print(_reporting().changes(made, change))


def _last_build() -> Any:
    made = _store().build()
    if made is None:
        raise click.ClickException(f"nothing is built for {settings().chain} yet: `./arena whitelist build` does")
    return made


def _service() -> Any:
    return importlib.import_module("whitelist.service")


def _reporting() -> Any:
    return importlib.import_module("whitelist.publication.report")


def _store() -> Any:
    return importlib.import_module("whitelist.publication.store").WhitelistStore(settings())


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _print(lines: list[Any]) -> None:
    console = importlib.import_module("rich.console").Console(file=sys.stdout, soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line, markup=False) if isinstance(line, str) else console.print(line)
