"""`./arena whitelist`: from token sources to published pools."""

import asyncio
import importlib
import logging
from typing import Any

import click

from commands.output import json_option, print_json, print_whole
from settings import settings


@click.group(epilog="Example: ./arena whitelist build && ./arena whitelist show")
def whitelist() -> None:
    """Choose tokens, find the pools that trade them, and publish those with enough liquidity on NATS.

    The configuration is a TOML file, ARENA_WHITELIST_CONFIG; whitelist/ethereum.toml is the default, and one to copy.
    """
    logging.getLogger("nats").setLevel(logging.CRITICAL)


@whitelist.command(epilog="Example: ./arena whitelist build --json")
@json_option
def build(as_json: bool) -> None:
    """Decide which pools to list. Publishes nothing."""
    made = asyncio.run(_module("service").build_once(settings()))
    if as_json:
        print_json(_module("publication.json_report").build_as_json(made))
    else:
        _print(_module("publication.tables").summary(made))


@whitelist.command(epilog="Example: ./arena whitelist publish")
@click.option("--force", is_flag=True, help="Also where a large share of the list is removed.")
@json_option
def publish(force: bool, as_json: bool) -> None:
    """Build, then publish on NATS what changed since the last time, and the full list."""
    made, change = asyncio.run(_module("service").publish_once(settings(), force=force))
    if as_json:
        print_json(_module("publication.json_report").change_as_json(made, change))
    else:
        tables = _module("publication.tables")
        _print([*tables.summary(made), *tables.changes(made, change)])


@whitelist.command(epilog="Example: ARENA_METRICS_PORT=9103 ./arena whitelist run")
def run() -> None:
    """Publish every hour, or as often as the configuration says, and on a reseed request."""
    importlib.import_module("commands.processes.lifecycle").run_until_stopped("whitelist.service")


@whitelist.command(epilog="Example: ./arena whitelist show 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640")
@click.argument("pool_or_token", metavar="[ID]", required=False)
@json_option
def show(pool_or_token: str | None, as_json: bool) -> None:
    """The last build's decisions with their reasons: on all pools, on one, or on those with a token."""
    made = _last_build()
    if pool_or_token is not None:
        made = _module("publication.decision_lookup").with_decision_on(made, _store(), pool_or_token)
    if as_json:
        print_json(_module("publication.json_report").build_as_json(made, pool_or_token))
    else:
        _print(_module("publication.tables").decisions(made, pool_or_token))


@whitelist.command(epilog="Example: ./arena whitelist diff --last")
@click.option("--last", is_flag=True, help="Of the last build, instead of a new one.")
@json_option
def diff(last: bool, as_json: bool) -> None:
    """What publishing would change, and why. Publishes nothing."""
    made = _last_build() if last else asyncio.run(_module("service").build_once(settings()))
    change = _module("publication.messages").compare_lists(_store().published(), made.published)
    if as_json:
        print_json(_module("publication.json_report").change_as_json(made, change))
    else:
        _print(_module("publication.tables").changes(made, change))


def _last_build() -> Any:
    made = _store().build()
    if made is None:
        raise click.ClickException(f"no list of {settings().chain} is built yet: run `./arena whitelist build`")
    return made


def _store() -> Any:
    return _module("publication.store").WhitelistStore(settings())


def _module(name: str) -> Any:
    """Imported when it is needed: `./arena --help` is fast."""
    return importlib.import_module(f"whitelist.{name}")


def _print(parts: list[Any]) -> None:
    for part in parts:
        if isinstance(part, str):
            click.echo(part)
        else:
            print_whole(part)
