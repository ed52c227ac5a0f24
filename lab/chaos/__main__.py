"""`make chaos`: round after round of faults on the whole system; the chain judges each, and its seed repeats it."""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lab.chaos.faults import plan
from lab.chaos.round import Report, run_round
from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.nats import Nats

LONGEST_SEED = 10**6


def run(rounds: int, seed: int, lasts_s: float, directory: Path) -> list[Report]:
    """Round n has the seed `seed` + n."""
    reports: list[Report] = []
    with Kafka() as kafka, Nats() as nats:
        for number in range(rounds):
            planned = plan(seed + number, lasts_s)
            there = directory / str(planned.seed)
            there.mkdir(parents=True)
            print(f"round {number + 1} of {rounds}, seed {planned.seed}: {_spelled(planned.counts())}", flush=True)
            report = run_round(
                planned, {"kafka": kafka, "nats": nats}, there, lambda said: print(f"  {said}", flush=True)
            )
            _print_report(report, there)
            reports.append(report)
    return reports


def _print_report(report: Report, directory: Path) -> None:
    print(f"  {report.blocks} blocks; asked meanwhile: {_spelled(report.answers)}")
    if report.ended:
        print(f"  {_spelled(report.ended)}, and started again")
    print(f"  {len(report.differences)} differences", flush=True)
    for each in report.differences[:20]:
        print(f"    {each}")
    if report.differences:
        print(f"  logs are in {directory}; again: make chaos ROUNDS=1 SEED={report.plan.seed}", flush=True)


def summary(reports: Sequence[Report]) -> str:
    recovered = sorted(report.recovery_s for report in reports)
    faults: Counter[str] = Counter()
    for report in reports:
        faults += report.plan.counts()
    failed = [str(report.plan.seed) for report in reports if report.differences]
    lines = [
        f"{len(reports)} rounds, {sum(report.blocks for report in reports)} blocks, "
        f"{sum(report.answers['states compared'] for report in reports)} states compared while they came",
        f"faults: {_spelled(faults)}",
        f"recovery: median {statistics.median(recovered):.1f} s, worst {recovered[-1]:.1f} s",
        f"rounds with a difference: {', '.join(failed) if failed else 'none'}",
    ]
    return "\n".join(lines)


def _spelled(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next have the numbers after it")
    parser.add_argument("--seconds", type=float, default=15.0, help="in which faults begin, per round")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(LONGEST_SEED) if asked.seed is None else asked.seed
    directory = Path(tempfile.mkdtemp(prefix="arena-chaos-"))
    began_s = time.monotonic()
    reports = run(asked.rounds, seed, asked.seconds, directory)
    print(f"{summary(reports)}\n{time.monotonic() - began_s:.0f} s; logs are in {directory}")
    return 1 if any(report.differences for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
