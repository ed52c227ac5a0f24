"""`make fuzz`: mutated inputs, on the socket and on every topic. No wrong state, no dead process.

Inputs come in lots; a lot follows from its seed alone, so a finding is repeated by it: make fuzz INPUTS=1 SEED=…
"""

import argparse
import asyncio
import logging
import random
import sys
import time
import traceback
from collections import Counter
from random import Random
from typing import Protocol

from lab.fuzz.messages import SnapshotRequests, Whitelists
from lab.fuzz.records import Records
from lab.fuzz.wire import Streams
from streams.bridge.feed_reader import ControlWire, SeedWire

LOT = 40


class Target(Protocol):
    """An edge of the system that random input is thrown at."""

    async def run(self, random: Random, inputs: int, counts: Counter[str]) -> None: ...


KINDS: dict[str, Target] = {
    "control": Streams(ControlWire),
    "seed": Streams(SeedWire),
    "records": Records(),
    "whitelists": Whitelists(),
    "wishes": SnapshotRequests(),
}
LARGEST_SEED = 10**9
SAY_EVERY_S = 10.0


async def run(inputs: int, seed: int, only: str | None = None) -> tuple[Counter[str], list[str]]:
    """Counts by kind, and what was found."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    said_s = time.monotonic()
    for lot in range(-(-inputs // LOT)):
        dice = random.Random(seed + lot)
        name = dice.choice(list(KINDS)) if only is None else only
        try:
            await KINDS[name].run(dice, LOT, counts)
        except Exception:  # noqa: BLE001  whatever it is, it is a finding
            found.append(f"{name}, seed {seed + lot}: {traceback.format_exc(limit=-3)}")
            print(found[-1], flush=True)
        counts[name] += LOT
        counts["inputs"] += LOT
        if time.monotonic() - said_s > SAY_EVERY_S:
            said_s = time.monotonic()
            print(f"{counts['inputs']} of {inputs}, {len(found)} findings", flush=True)
    return counts, found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", choices=KINDS)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seed = random.SystemRandom().randrange(LARGEST_SEED) if asked.seed is None else asked.seed
    began_s = time.monotonic()
    counts, found = asyncio.run(run(asked.inputs, seed, asked.only))
    print(f"seed {seed}: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}")
    print(f"{len(found)} findings in {time.monotonic() - began_s:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
