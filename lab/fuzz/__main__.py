"""`make fuzz`: mutated input on the socket and on every topic must cause neither a wrong state nor a dead process.

Inputs come in batches that follow from their seed alone, so INPUTS=1 SEED=… repeats a finding.
"""

import asyncio
import logging
import random
import sys
import time
import traceback
from collections import Counter
from random import Random
from typing import Protocol

import click

from commands.output import json_option, print_json
from lab.fuzz.messages import SnapshotRequests, Whitelists
from lab.fuzz.records import Records
from lab.fuzz.wire import Streams
from streams.bridge.feed_reader import ControlWire, SeedWire

BATCH = 40
LARGEST_SEED = 10**9
PROGRESS_EVERY_S = 10.0


class Target(Protocol):
    """An edge of the system that takes mutated input. Raises where the input does harm."""

    async def run(self, random: Random, inputs: int, counts: Counter[str]) -> None: ...


TARGETS: dict[str, Target] = {
    "control": Streams(ControlWire),
    "seed": Streams(SeedWire),
    "records": Records(),
    "whitelists": Whitelists(),
    "snapshot requests": SnapshotRequests(),
}


async def run(inputs: int, seed: int, only: str | None = None) -> tuple[Counter[str], list[str]]:
    """Counts by name, and the findings."""
    counts: Counter[str] = Counter()
    findings: list[str] = []
    progress_s = time.monotonic()
    for batch in range(-(-inputs // BATCH)):
        draw = random.Random(seed + batch)
        name = draw.choice(list(TARGETS)) if only is None else only
        try:
            await TARGETS[name].run(draw, BATCH, counts)
        except Exception:  # noqa: BLE001  any exception is a finding
            findings.append(f"{name}, seed {seed + batch}: {traceback.format_exc(limit=-3)}")
            click.echo(findings[-1], err=True)
        counts[name] += BATCH
        counts["inputs"] += BATCH
        if time.monotonic() - progress_s > PROGRESS_EVERY_S:
            progress_s = time.monotonic()
            click.echo(f"{counts['inputs']} of {inputs}, {len(findings)} findings", err=True)
    return counts, findings


@click.command(epilog="Example: make fuzz INPUTS=1000000")
@click.option("--inputs", default=20_000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", type=int, help="Of the first batch; random unless given.")
@click.option("--only", type=click.Choice(list(TARGETS)), help="One target instead of all in turn.")
@json_option
def main(inputs: int, seed: int | None, only: str | None, as_json: bool) -> None:
    """Feed mutated input to every edge of the system: socket, topics, NATS."""
    logging.disable(logging.CRITICAL)
    chosen = random.SystemRandom().randrange(LARGEST_SEED) if seed is None else seed
    began_s = time.monotonic()
    counts, findings = asyncio.run(run(inputs, chosen, only))
    if as_json:
        print_json({"seed": chosen, "counts": counts, "findings": findings})
    else:
        click.echo(f"seed {chosen}: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}")
        click.echo(f"{len(findings)} findings in {time.monotonic() - began_s:.0f} s")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main(prog_name="make fuzz")
