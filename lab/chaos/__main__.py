"""`make chaos`: rounds of random faults on the whole system, each compared with the chain and repeated by its seed."""

import logging
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from commands.output import json_option, print_json
from lab.chaos.faults import plan
from lab.chaos.round import Report, run_round
from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.nats import Nats

LARGEST_SEED = 10**6
log = logging.getLogger(__name__)


def run(rounds: int, seed: int, lasts_s: float, directory: Path) -> list[Report]:
    """Round n has the seed `seed` + n; logs go to a folder of `directory` named by the seed."""
    reports: list[Report] = []
    with Kafka(secured=True) as kafka, Nats() as nats:
        for number in range(rounds):
            planned = plan(seed + number, lasts_s)
            logs = directory / str(planned.seed)
            logs.mkdir(parents=True)
            log.info("round %d of %d, seed %d: %s", number + 1, rounds, planned.seed, _spelled(planned.counts()))
            reports.append(run_round(planned, {"kafka": kafka, "nats": nats}, logs))
            _log_report(reports[-1], logs)
    return reports


def _log_report(report: Report, logs: Path) -> None:
    log.info("  recovered after %.1f s", report.recovery_s)
    log.info("  %d blocks; answers meanwhile: %s", report.blocks, _spelled(report.answers))
    if report.ended:
        log.info("  %s, and restarted", _spelled(report.ended))
    log.info("  %d differences", len(report.differences))
    for difference in report.differences[:20]:
        log.info("    %s", difference)
    if report.differences:
        log.info("  logs are in %s; repeat it with make chaos ROUNDS=1 SEED=%d", logs, report.plan.seed)


def summary(reports: Sequence[Report]) -> str:
    recovered = sorted(report.recovery_s for report in reports)
    faults = sum((report.plan.counts() for report in reports), Counter[str]())
    failed = [str(report.plan.seed) for report in reports if report.differences]
    return "\n".join(
        (
            f"{len(reports)} rounds, {sum(report.blocks for report in reports)} blocks, "
            f"{sum(report.answers['states compared'] for report in reports)} states and "
            f"{sum(report.answers['quotes compared'] for report in reports)} quotes compared while they came",
            f"faults: {_spelled(faults)}",
            f"recovery: median {statistics.median(recovered):.1f} s, worst {recovered[-1]:.1f} s",
            f"rounds with a difference: {', '.join(failed) if failed else 'none'}",
        )
    )


def _spelled(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"


@click.command(epilog="Example: make chaos ROUNDS=10 SEED=7")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", type=int, help="Of the first round; the next rounds have the numbers after it.")
@click.option("--seconds", default=15.0, show_default=True, help="In which faults begin, per round.")
@json_option
def main(rounds: int, seed: int | None, seconds: float, as_json: bool) -> None:
    """Kill, freeze, cut off and corrupt the system's processes and servers at random; every pool must recover."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr if as_json else sys.stdout)
    log.setLevel(logging.INFO)
    directory = Path(tempfile.mkdtemp(prefix="arena-chaos-"))
    began_s = time.monotonic()
    reports = run(rounds, random.SystemRandom().randrange(LARGEST_SEED) if seed is None else seed, seconds, directory)
    if as_json:
        print_json({"reports": msgspec.to_builtins(reports)})
    else:
        click.echo(f"{summary(reports)}\n{time.monotonic() - began_s:.0f} s; logs are in {directory}")
    sys.exit(any(report.differences for report in reports))


if __name__ == "__main__":
    main(prog_name="make chaos")
