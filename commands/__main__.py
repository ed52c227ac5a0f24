"""The commands: `./arena COMMAND`, or `python -m cli COMMAND` in the environment."""

import asyncio
import importlib
import json
import logging
import os
import sys
from types import TracebackType
from typing import Any

import click
from aiokafka.errors import KafkaError
from pydantic import SecretStr, ValidationError

from commands import process as running
from commands import query as asking
from commands import up as supervisor
from commands.whitelist import whitelist
from settings import settings

OURS = {
    "agents",
    "asking",
    "cli",
    "demo",
    "profiling",
    "protocols",
    "running",
    "streams",
    "supervisor",
    "tables",
    "whitelist",
}
LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--log-level", type=LEVELS, default="info", show_default=True, envvar="ARENA_LOG_LEVEL")
def arena(log_level: str) -> None:
    """The exact, current state of Uniswap pools at every block.

    Configuration comes from ARENA_… in the environment and in .env; `arena config` shows it.
    """
    os.environ["ARENA_LOG_LEVEL"] = log_level
    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("aiokafka").setLevel(max(logging.WARNING, logging.root.level))


@arena.command()
@click.option("--workers", default=1, show_default=True, help="With successive HTTP ports from ARENA_WEB_PORT.")
def up(workers: int) -> None:
    """Run the feed, the bridge, the scraper and workers on this machine; what ends is started again."""
    asyncio.run(supervisor.run(supervisor.parts(settings(), workers)))


@arena.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Fold the topics into tables and answer HTTP; ARGUMENTS go to `faust -A worker worker`."""
    level = {"warning": "warn"}.get(os.environ["ARENA_LOG_LEVEL"], os.environ["ARENA_LOG_LEVEL"])
    command = [sys.executable, "-m", "faust", "-A", "worker", "worker", "--loglevel", level, *arguments]
    settings()
    os.execv(sys.executable, command)


@arena.command()
def bridge() -> None:
    """Put the socket's events and the NATS whitelist onto Kafka topics."""
    running.until_stopped("streams.bridge.process")


@arena.command()
def exex() -> None:
    """Feed the socket from any node: its blocks' logs, filtered by the whitelist."""
    running.until_stopped("streams.feed.process")


@arena.command()
def scraper() -> None:
    """Take the snapshots that workers ask for, each at one block."""
    running.until_stopped("streams.scraper.process")


@arena.command()
@click.option("--blocks", default=60, show_default=True, help="How many blocks of traffic.")
@click.option("--rate", default=4.0, show_default=True, help="Blocks per second.")
@click.option("--seed", default=1, show_default=True, help="Of the traffic's random choices.")
@click.option("--workers", default=1, show_default=True)
@click.option("--partitions", default=4, show_default=True)
@click.option("--web-port", type=int, help="Of the first worker; a free one unless given.")
@click.option("--keep", is_flag=True, help="Leave it running, with traffic, until Ctrl-C.")
def demo(**wishes: Any) -> None:
    """Run everything on a chain of its own, then compare every field of every pool with that chain."""
    run = importlib.import_module("lab.demo.run")
    sys.exit(run.run(run.Wishes(**wishes)))


@arena.command()
@click.option(
    "--sample", type=click.IntRange(min=1), help="So many pools of each protocol, from the node's latest logs."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--warm-up", default=1, show_default=True, type=click.IntRange(min=0), help="Rounds that do not count.")
@click.option("--json", "as_json", is_flag=True)
def profile(**wishes: Any) -> None:
    """How fast the node's pools are read, and how large batches may be. Reads the list's pools, and only reads."""
    profiling = importlib.import_module("commands.profile")
    profiling.run(settings(), profiling.ProfileOptions(**wishes))


@arena.command()
@click.argument("pool_id", metavar="ID")
@click.option("--at", type=int, help="A block in the worker's memory, instead of the head.")
@click.option("--ticks", is_flag=True, help="Every initialised tick.")
@click.option("--json", "as_json", is_flag=True)
def pool(pool_id: str, at: int | None, ticks: bool, as_json: bool) -> None:
    """What is known of a pool: status, block, state."""
    asking.pool(settings(), pool_id, at, with_ticks=ticks, as_json=as_json)


@arena.command()
@click.option("--protocol", type=click.Choice(["v2", "v3", "v4"]))
@click.option("--status", type=click.Choice(["live", "waiting"]))
@click.option("--token", help="Address of either token.")
@click.option("--json", "as_json", is_flag=True)
def pools(protocol: str | None, status: str | None, token: str | None, as_json: bool) -> None:
    """All pools, one line each."""
    filters = {"protocol": protocol, "status": status, "token": token}
    asking.pools(settings(), {name: value for name, value in filters.items() if value}, as_json=as_json)


@arena.command()
@click.option("--json", "as_json", is_flag=True)
def status(as_json: bool) -> None:
    """Each partition's head and lag, and how many pools are live or waiting, and why."""
    asking.status(settings(), as_json=as_json)


@arena.group("dead-letters", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def dead_letters(context: click.Context, as_json: bool) -> None:
    """Records that could not be read or applied; `replay NAME` sends one again."""
    if context.invoked_subcommand is None:
        letters = importlib.import_module("streams.kafka.dead_letters")
        asking.dead_letters(asyncio.run(letters.kept(settings())), as_json=as_json)


@dead_letters.command()
@click.argument("name")
def replay(name: str) -> None:
    """Send the record of a dead letter to the end of the topic that it came from."""
    letters = importlib.import_module("streams.kafka.dead_letters")
    letter = asyncio.run(letters.replay(settings(), name))
    click.echo(f"sent to {letter.topic}, partition {letter.partition}, with key {letter.key or 'none'}")


@arena.command()
@click.option("--json", "as_json", is_flag=True)
def config(as_json: bool) -> None:
    """The settings in force, secrets masked."""
    shown = {f"ARENA_{name.upper()}": _shown(value) for name, value in settings()}
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        click.echo(f"{name}={'' if value is None else value}")


arena.add_command(whitelist)


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "********"
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def one_line(error: BaseException) -> str | None:
    """What to tell of an error that needs no traceback: it is ours, and so a sentence, or says what is unreachable."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        return f"ARENA_{'_'.join(map(str, wrong['loc'])).upper()}: {wrong['msg']}"
    if type(error).__module__.partition(".")[0] in OURS or isinstance(error, KafkaError | OSError):
        return str(error) or type(error).__name__
    return None


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sentence = one_line(error)
    if sentence is None:
        sys.__excepthook__(kind, error, trace)
    else:
        click.echo(f"arena: {sentence}", err=True)


if __name__ == "__main__":
    sys.excepthook = _tell
    arena(prog_name="arena")
