"""How long 1,660 listed pools take to be live and equal to the chain, with traffic on.

make bench-cold-start
"""

import asyncio
import json
import logging
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console

from lab.devnet.chain.blocks import Chain
from lab.devnet.chain.contracts import Contracts, Pool
from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.many_pools import ANVIL_OPTIONS, Counts, make
from lab.devnet.chain.traffic import Traffic
from lab.devnet.reference.comparison import compare_pools
from lab.devnet.reference.reader import ReferenceReader
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers import start as servers
from lab.devnet.servers import whitelist_publisher as listing
from lab.devnet.servers.processes import free_port
from lab.devnet.servers.system import System, system
from settings import Settings

BUSY_POOLS = 60
TRANSACTIONS_PER_BLOCK = 8
TIMEOUT_S = 600.0
POLL_S = 0.2
console = Console(stderr=True, soft_wrap=True)


class Result(msgspec.Struct, frozen=True):
    pools: int
    ticks: int
    first_live_s: float
    all_live_s: float
    """From the list's publication."""
    blocks: int
    """Mined meanwhile."""
    differences: int
    """Fields of all pools that are not the chain's, at one block afterwards."""


class Devnet(msgspec.Struct, frozen=True):
    chain: Chain
    contracts: Contracts
    pools: list[Pool]
    reference: ReferenceReader
    traffic: Traffic

    def mine(self) -> None:
        heads = self.reference.heads(self.traffic.pools, self.chain.tip.hash)
        self.chain.mine(self.traffic.block(heads, TRANSACTIONS_PER_BLOCK))


@click.command()
@click.option("--v2", default=399, show_default=True)
@click.option("--v3", default=713, show_default=True)
@click.option("--v4", default=548, show_default=True)
@click.option("--dense", default=50, show_default=True, help="So many of the V3 pools have --dense-ticks ticks.")
@click.option("--dense-ticks", default=1_000, show_default=True)
@click.option("--block-s", default=1.0, show_default=True, help="Seconds from block to block.")
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(block_s: float, seed: int, as_json: bool, **counts: int) -> None:
    logging.disable(logging.WARNING)
    with servers.kafka() as kafka, servers.nats() as nats, servers.anvil(*ANVIL_OPTIONS) as rpc:
        console.print("making the pools, which takes some minutes")
        place = _devnet(rpc, Counts(**counts), seed)
        with tempfile.TemporaryDirectory() as directory:
            settings = Settings(
                chain=f"cold-{secrets.token_hex(3)}",
                kafka=kafka,
                nats=nats,
                rpc=rpc,
                rpc_ws=rpc.replace("http", "ws", 1),
                exex_socket=Path(directory) / "exex.sock",
                data=Path(directory) / "data",
                web_port=free_port(),
                scraper_block_time_s=block_s,
            )
            with system(settings, 1, Path(directory)) as ours:
                result = _cold_start(place, ours, block_s)
    click.echo(json.dumps(msgspec.to_builtins(result)) if as_json else str(result))
    sys.exit(1 if result.differences else 0)


def _devnet(rpc: str, counts: Counts, seed: int) -> Devnet:
    chain = Chain(Rpc(rpc, timeout_s=300))
    contracts = Contracts.deployed(chain, 30)
    pools = make(chain, contracts, counts, seed)
    reference = ReferenceReader(chain.rpc, contracts.multicall)
    busy = random.Random(seed).sample(pools, min(BUSY_POOLS, len(pools)))
    return Devnet(
        chain, contracts, pools, reference, Traffic(contracts, busy, reference.heads(busy, chain.tip.hash), seed)
    )


def _cold_start(place: Devnet, ours: System, block_s: float) -> Result:
    for name in ours.names:
        ours.start(name)
    served = WorkerClient(ours.urls[0])
    first_block = place.chain.tip.number
    _mine_until(place, ours, block_s, lambda: served.heads() == {place.chain.tip.hash})
    console.print("the system follows the chain; publishing the list")
    began = time.monotonic()
    asyncio.run(listing.publish(ours.settings.nats.get_secret_value(), ours.settings.chain, place.pools))
    lives: dict[str, float] = {}

    def all_live() -> bool:
        live = served.status()["pools"].get("live", 0)
        if live:
            lives.setdefault("first", time.monotonic() - began)
        console.print(f"{time.monotonic() - began:5.1f} s: {live} of {len(place.pools)} pools live")
        return bool(live == len(place.pools))

    _mine_until(place, ours, block_s, all_live)
    all_live_s, blocks = time.monotonic() - began, place.chain.tip.number - first_block
    _until(ours, lambda: served.heads() == {place.chain.tip.hash})
    found = compare_pools(served, place.reference, place.pools, place.chain.tip.hash)
    for verdict in [each for each in found if each.differences][:10]:
        console.print(f"{verdict.pool.id}: {verdict.differences[0]}")
    ticks, wrong = sum(each.ticks for each in found), sum(len(each.differences) for each in found)
    return Result(len(found), ticks, round(lives["first"], 1), round(all_live_s, 1), blocks, wrong)


def _mine_until(place: Devnet, ours: System, block_s: float, is_done: Callable[[], bool]) -> None:
    next_s = time.monotonic()

    def mined_and_done() -> bool:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = max(next_s + block_s, time.monotonic())
            place.mine()
        return is_done()

    _until(ours, mined_and_done)


def _until(ours: System, is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_done():
        ours.raise_if_ended()
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"not all pools are live after {TIMEOUT_S:.0f} s: {WorkerClient(ours.urls[0]).status()}"
            )
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
