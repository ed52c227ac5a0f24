"""Quotes against the chain: random swaps that are mined, and the periphery's quoters, compared to the last unit.

make quotes SWAPS=10000 SEED=1
"""

import sys
import time

import click
from rich.console import Console

from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from lab.quotes.called import compare_with_quoters
from lab.quotes.mined import MinedSwaps

CALLS_SHARE = 5
"""One call of a quoter for so many swaps that are mined."""
console = Console(stderr=True, soft_wrap=True)


@click.command()
@click.option("--swaps", default=10_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(swaps: int, seed: int) -> None:
    began = time.monotonic()
    with servers.anvil("--prune-history", "256") as rpc:
        mined, mined_wrong = MinedSwaps(World(rpc, seed), seed).run(swaps)
    with servers.anvil("--prune-history", "256") as rpc:
        called, called_wrong = compare_with_quoters(World(rpc, seed), swaps // CALLS_SHARE, seed)
    wrong = [*mined_wrong, *called_wrong]
    for name, count in [*sorted(mined.items()), *sorted(called.items())]:
        click.echo(f"{count:>7,} {name}")
    for each in wrong:
        console.print(each)
    took_s = time.monotonic() - began
    click.echo(f"{mined.total():,} mined and {called.total():,} called in {took_s:.0f} s, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
