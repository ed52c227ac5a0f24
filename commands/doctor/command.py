"""`arena doctor`."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence

import click
import msgspec
from rich.console import Console
from rich.text import Text

from commands.doctor.findings import Check, Finding, Findings
from commands.doctor.machine import check_exex, check_machine
from commands.doctor.node import check_node
from commands.doctor.servers import check_kafka, check_nats
from commands.output import json_option, print_json
from settings import Settings, settings
from streams.node.errors import NodeUnavailable, RpcError, WrongChain

CHECKS: Mapping[str, Check] = {
    "node": check_node,
    "kafka": check_kafka,
    "nats": check_nats,
    "exex": check_exex,
    "machine": check_machine,
}
TIMEOUT_S = 60.0
"""Of each area."""
STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command(epilog="Example: ./arena doctor. Exit code 0: no problem; 1: at least one; warnings do not count.")
@json_option
def doctor(as_json: bool) -> None:
    """Checks the node, Kafka, NATS, the ExEx socket and this machine, and says what to do. Changes nothing."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it logs is among the findings
    found = asyncio.run(_examine(settings()))
    problems = sum(finding.level == "problem" for finding in found)
    if as_json:
        print_json({"ok": not problems, "findings": msgspec.to_builtins(found)})
    else:
        _print(found)
    sys.exit(1 if problems else 0)


async def _examine(settings: Settings) -> list[Finding]:
    areas = await asyncio.gather(*(_check(settings, area, check) for area, check in CHECKS.items()))
    return [finding for area in areas for finding in area]


async def _check(settings: Settings, area: str, check: Check) -> list[Finding]:
    findings = Findings(area)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await check(settings, findings)
    except TimeoutError:
        findings.problem(f"the check did not end in {TIMEOUT_S:.0f} s", "see whether the server is overloaded")
    except (NodeUnavailable, RpcError, WrongChain) as error:
        findings.problem(str(error), "start the node, or set ARENA_RPC to its address")
    return findings.all


def _print(found: Sequence[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in found:
        line = Text(f"{finding.level:<8}", style=STYLES[finding.level])
        console.print(line.append(f" {finding.area:<8} {finding.fact}", style="default"))
        if finding.advice:
            console.print(Text(f"{'':18}→ {finding.advice}", style="dim"))
    counts = {level: sum(finding.level == level for finding in found) for level in STYLES}
    console.print(Text(f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} checks passed"))
