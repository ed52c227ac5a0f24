"""Is the durable table exact? Runs of 70 s of faults on real Kafka, one line each; exit code 1 if one is not exact.

python -m lab.chaos.durable --mode workers --mode broker --seeds 3 --seconds 70
"""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import get_args

import click

from lab.chaos.durable.fault_injector import Mode, Plan, run
from lab.devnet.servers.kafka import Kafka
from streams.kafka.log_throttle import throttle


@click.command()
@click.option("--mode", "modes", multiple=True, type=click.Choice(get_args(Mode)), default=get_args(Mode))
@click.option("--seeds", default=1, show_default=True, help="Runs of each mode.")
@click.option("--first-seed", default=1, show_default=True)
@click.option("--seconds", default=70.0, show_default=True)
@click.option("--per-s", default=400.0, show_default=True, help="Records per second.")
def main(modes: tuple[Mode, ...], seeds: int, first_seed: int, seconds: float, per_s: float) -> None:
    throttle(logging.getLogger("aiokafka"))
    exact = True
    for seed in range(first_seed, first_seed + seeds):
        for mode in modes:
            directory = Path(tempfile.mkdtemp(prefix=f"durable-{mode}-{seed}-"))
            with Kafka() as kafka:
                outcome = asyncio.run(run(kafka, directory, Plan(mode, seed, seconds, per_s)))
            exact = exact and outcome.exact
            click.echo(f"{mode} seed {seed}: {outcome} ({directory})")
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
