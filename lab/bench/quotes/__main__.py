"""How fast are quotes, ours and others' on the same states? Ratios of one run; every amount must be equal.

make bench-quotes ROUNDS=5 SEED=1
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import click
from rich.console import Console

from lab.bench.quotes import ours, peers
from lab.bench.quotes.batch import batch_ms
from lab.bench.quotes.task import Case, Reading, cases, task
from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.world import World
from lab.devnet.reference.quoters import Quoters
from lab.devnet.servers import start as servers

console = Console(stderr=True, soft_wrap=True)
BLOCKS = 60
"""With traffic, before the pools are quoted."""
CALLED = 40
"""Quotes per pool that the contracts are asked for in a round."""

Row = dict[str, object]


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--per-pool", default=60, show_default=True, help="Quotes of each pool.")
@click.option("--python", default="python3.12", show_default=True, help="For degenbot: 3.12 or newer.")
@click.option("--peers/--no-peers", "with_peers", default=True, help="Install and run the others too.")
@click.option("--json", "as_json", is_flag=True)
def main(python: str, with_peers: bool, as_json: bool, **counts: int) -> None:
    rounds, seed = counts["rounds"], counts["seed"]
    with servers.anvil("--prune-history", "256") as rpc:
        world = World(rpc, seed)
        quoters = Quoters.deployed(world.chain, world.contracts)
        for _ in range(BLOCKS):
            world.mine()
        found = cases(world, counts["per_pool"], seed)
        given = task(found)
        readers: dict[str, Callable[[], Reading]] = {
            "ours": lambda: ours.reading(found),
            "the quoter contracts": _called(world, quoters, found),
        }
        if with_peers:
            readers["degenbot 0.5.0"] = lambda: peers.degenbot(given, python)
            readers["Uniswap's JS SDKs"] = lambda: peers.sdk(given)
        readings: dict[str, list[Reading]] = {name: [] for name in readers}
        for _ in range(rounds):
            for name, read in readers.items():
                readings[name].append(read())
    _expect_equal(found, readings)
    own = {
        "single-step quotes/s": _spread(ours.single_step_rate, rounds),
        "ten-tick quotes/s": _spread(ours.ten_tick_rate, rounds),
        "first quote of a pool with 20,000 ticks, µs": _spread(ours.first_quote_of_many_ticks_us, rounds),
        "1,000 quotes in one POST, ms": _spread(batch_ms, rounds),
    }
    _print([_row(name, readings) for name in readers], own, as_json)
    console.print(f"{len(found)} quotes of {len(given.pools)} pools, {rounds} rounds, seed {seed}")


def _called(world: World, quoters: Quoters, found: Sequence[Case]) -> Callable[[], Reading]:
    """Of Uniswap's pools, some of the orders: one eth_call each, on one connection.

    At the latest block, for anvil copies its state for each call that names a block.
    """
    theirs = (world.contracts.v3_factory, world.contracts.manager)
    counts: dict[Pool, int] = {}

    def is_asked(case: Case) -> bool:
        counts[case.pool] = counts.get(case.pool, 0) + 1
        return case.pool.factory in theirs and counts[case.pool] <= CALLED

    asked = [is_asked(case) for case in found]

    def read() -> Reading:
        amounts: list[str | None] = []
        microseconds: list[float] = []
        for case, wanted in zip(found, asked, strict=True):
            if not wanted:
                amounts.append(None)
                continue
            began = time.perf_counter()
            answer = quoters.quote(case.pool, case.order, "latest")
            microseconds.append((time.perf_counter() - began) * 1e6)
            amounts.append(str(answer.amount) if answer else "reverted")
        return Reading(amounts, microseconds)

    return read


def _expect_equal(found: Sequence[Case], readings: dict[str, list[Reading]]) -> None:
    for name, each in readings.items():
        for reading in each:
            pairs = zip(found, reading.amounts, strict=True)
            wrong = [(case, amount) for case, amount in pairs if amount not in (None, str(case.quote.amount_out))]
            if wrong:
                case, amount = wrong[0]
                console.print(f"{name}: {len(wrong)} amounts differ; {case.pool} {case.order}: {amount}, {case.quote}")
                sys.exit(1)


def _row(name: str, readings: dict[str, list[Reading]]) -> Row:
    """Ratios are of medians of the orders that both answer, round by round."""
    ratios = sorted(
        statistics.median(theirs) / statistics.median(mine)
        for theirs, mine in (_both(a, b) for a, b in zip(readings[name], readings["ours"], strict=True))
    )
    medians = sorted(statistics.median(each.microseconds) for each in readings[name])
    return {
        "quoted by": name,
        "quotes": len(readings[name][0].microseconds),
        "median µs": _spelled(medians),
        "mean µs": _spelled(sorted(statistics.mean(each.microseconds) for each in readings[name])),
        "ours is faster": _spelled(ratios),
    }


def _both(theirs: Reading, ours: Reading) -> tuple[list[float], list[float]]:
    """Times of the orders that they answer."""
    answered = [number for number, amount in enumerate(theirs.amounts) if amount is not None]
    return theirs.microseconds, [ours.microseconds[number] for number in answered]


def _spread(measure: Callable[[], float], rounds: int) -> str:
    return _spelled(sorted(measure() for _ in range(rounds)))


def _spelled(ascending: Sequence[float]) -> str:
    """The median, and from what to what."""
    first, middle, last = (f"{each:,.1f}" for each in (ascending[0], statistics.median(ascending), ascending[-1]))
    return f"{middle} ({first} to {last})"


def _print(rows: Sequence[Row], own: dict[str, str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"quotes": rows, "ours": own}, indent=2))
        return
    for row in rows:
        click.echo(" | ".join(f"{name} {value}" for name, value in row.items()))
    for name, value in own.items():
        click.echo(f"{name}: {value}")


if __name__ == "__main__":
    main()
