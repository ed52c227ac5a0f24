"""The commands: `./arena COMMAND`, or `python -m commands COMMAND` in the environment."""

import importlib
import logging
import os
import sys

import click

from commands import errors
from commands.version import version

MODULES = {
    "up": "commands.processes.up",
    "worker": "commands.processes.worker",
    "bridge": "commands.processes.bridge",
    "exex": "commands.processes.exex",
    "scraper": "commands.processes.scraper",
    "whitelist": "commands.whitelist",
    "demo": "commands.processes.demo",
    "pool": "commands.queries.pool",
    "pools": "commands.queries.pools",
    "quote": "commands.queries.quote",
    "status": "commands.queries.status",
    "watch": "commands.queries.watch",
    "replay": "commands.history.replay",
    "backfill": "commands.history.backfill",
    "profile": "commands.profile",
    "doctor": "commands.doctor.command",
    "config": "commands.config",
    "dead-letters": "commands.dead_letters",
}
"""A command and the module that defines it, under the same name with underscores."""
LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


class Commands(click.Group):
    """Imports a command's module when it is needed: `./arena status` need not load Kafka's client."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        found = getattr(importlib.import_module(MODULES[cmd_name]), cmd_name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"pool-state-arena {version()}")
        context.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: ./arena demo",
)
@click.option("--log-level", type=LEVELS, default="info", show_default=True, envvar="ARENA_LOG_LEVEL")
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print it.")
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


if __name__ == "__main__":
    sys.excepthook = errors.report
    arena(prog_name="arena")
