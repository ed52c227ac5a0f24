"""Quotes against the chain: random swaps that are mined, and the periphery's quoters, compared to the last unit.

make quotes SWAPS=10000 SEED=1
"""

import sys
import time

import click
from rich.console import Console

from lab.devnet.chain.world import World
from lab.devnet.servers import start as servers
from lab.quotes.mined import MinedSwaps

console = Console(stderr=True, soft_wrap=True)


@click.command()
@click.option("--swaps", default=10_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(swaps: int, seed: int) -> None:
    with servers.anvil("--prune-history", "256") as rpc:
        world = World(rpc, seed)
        began = time.monotonic()
        result = MinedSwaps(world, seed).run(swaps)
    for name, count in sorted(result.swaps.items()):
        click.echo(f"{count:>7,} {name}")
    for wrong in result.wrong:
        console.print(wrong)
    click.echo(f"{sum(result.swaps.values()):,} orders in {time.monotonic() - began:.0f} s, {len(result.wrong)} wrong")
    sys.exit(1 if result.wrong else 0)


if __name__ == "__main__":
    main()
