"""How fast are whole pools read, by us and by others? Ratios of one run on one chain, each reading in its own process.

make bench-scrape ROUNDS=5
"""

import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Column, Table

from lab.bench.scrape_peers import Scrape, Subject, getters, naive, ours, storage
from lab.devnet.chain.blocks import Chain
from lab.devnet.chain.contracts import Contracts, Pool
from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.many_pools import ANVIL_OPTIONS, Counts, make
from lab.devnet.servers.anvil import Anvil
from protocols.concentrated import ConcentratedState
from protocols.registry import State
from protocols.types import Block, PoolId
from streams.node.client import connect

METHODS: Mapping[str, tuple[str, Scrape]] = {
    "ours": ("ours", ours),
    "ours-ipc": ("ours, through the node's IPC socket", ours),
    "a": ("(a) eth_getStorageAt in batches", storage),
    "b": ("(b) getters through multicall", getters),
    "c": ("(c) a request for each slot", naive),
}
WIDTH = 120
NAIVE_SHARE = 45
"""(c) reads one of so many pools; its rates are those of what it read."""

console = Console(stderr=True, soft_wrap=True)


class Task(msgspec.Struct, frozen=True):
    """What one process reads."""

    rpc: str
    block: Block
    multicall: str
    pools: Sequence[Pool]


class Reading(msgspec.Struct, frozen=True):
    seconds: float
    cpu_seconds: float
    """Of the process that reads; the node's are not in it."""
    peak_mib: float
    ticks: int
    digests: dict[PoolId, str]
    """Of each pool's state."""


class Differs(Exception):
    """Two ways to read give different states."""


@click.group(invoke_without_command=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--v2", default=200, show_default=True)
@click.option("--v3", default=300, show_default=True)
@click.option("--v4", default=200, show_default=True)
@click.option("--dense", default=50, show_default=True, help="So many of the V3 pools have --dense-ticks ticks.")
@click.option("--dense-ticks", default=1_000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def main(context: click.Context, /, rounds: int, seed: int, as_json: bool, **counts: int) -> None:
    if context.invoked_subcommand is not None:
        return
    with _node() as (chain, ipc), tempfile.TemporaryDirectory() as directory:
        console.print("making the pools, which takes some minutes")
        contracts = Contracts.deployed(chain, 30)
        pools = make(chain, contracts, Counts(**counts), seed)
        block = Block(chain.tip.number, chain.tip.hash)
        files = {}
        for name in METHODS:
            some = pools[::NAIVE_SHARE] if name == "c" else pools
            files[name] = Path(directory) / name
            task = Task(ipc if name == "ours-ipc" else chain.rpc.url, block, contracts.multicall, some)
            files[name].write_bytes(msgspec.json.encode(task))
        readings = _rounds(files, rounds, random.Random(seed))
    _expect_equal(readings)
    rows = [_row(name, readings) for name in METHODS]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        Console(width=WIDTH).print(_table(rows))
    console.print(f"{len(pools)} pools with {readings['ours'][0].ticks:,} ticks, {rounds} rounds, seed {seed}")


def _rounds(files: Mapping[str, Path], rounds: int, order: random.Random) -> dict[str, list[Reading]]:
    readings: dict[str, list[Reading]] = {name: [] for name in files}
    for number in range(1, rounds + 1):
        for name in order.sample(list(files), len(files)):
            readings[name].append(_in_own_process(name, files[name]))
            console.print(f"round {number} of {rounds}: {METHODS[name][0]}: {readings[name][-1].seconds:.2f} s")
    return readings


@main.command()
@click.argument("method", type=click.Choice(list(METHODS)))
@click.argument("file", type=click.Path(path_type=Path))
def read(method: str, file: Path) -> None:
    """One reading; what the other command starts."""
    task = msgspec.json.decode(file.read_bytes(), type=Task)
    click.echo(msgspec.json.encode(asyncio.run(_read(METHODS[method][1], task))))


async def _read(scrape: Scrape, task: Task) -> Reading:
    async with connect(task.rpc, timeout_s=120) as node:
        await node.header("latest")
        began, cpu_began = time.monotonic(), time.process_time()
        states = await scrape(Subject(node, task.block, task.multicall), task.pools)
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ticks = sum(len(state.ticks) for state in states.values() if isinstance(state, ConcentratedState))
    return Reading(seconds, cpu_seconds, peak_mib, ticks, {pool: _digest(state) for pool, state in states.items()})


def _digest(state: State) -> str:
    return sha256(repr(state).encode()).hexdigest()


@contextmanager
def _node() -> Iterator[tuple[Chain, str]]:
    with tempfile.TemporaryDirectory() as directory:
        ipc = f"{directory}/anvil.ipc"
        with Anvil("--ipc", ipc, *ANVIL_OPTIONS) as anvil:
            yield Chain(Rpc(anvil.address, timeout_s=300)), ipc


def _in_own_process(method: str, file: Path) -> Reading:
    command = [sys.executable, "-m", "lab.bench.scrape", "read", method, str(file)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(f"{METHODS[method][0]} failed:\n{done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Reading)


def _expect_equal(readings: Mapping[str, Sequence[Reading]]) -> None:
    truth = readings["a"][0].digests
    for name, each in readings.items():
        for reading in each:
            wrong = [pool for pool, digest in reading.digests.items() if truth[pool] != digest]
            if wrong:
                raise Differs(f"{METHODS[name][0]} reads {len(wrong)} pools differently, the first is {wrong[0]}")


def _row(name: str, readings: Mapping[str, Sequence[Reading]]) -> dict[str, Any]:
    rates = [_pools_per_s(each) for each in readings[name]]
    ratios = sorted(_pools_per_s(ours) / rate for ours, rate in zip(readings["ours"], rates, strict=True))
    return {
        "method": METHODS[name][0],
        "pools": len(readings[name][0].digests),
        "pools_per_s": round(statistics.median(rates), 1),
        "ticks_per_s": round(statistics.median(each.ticks / each.seconds for each in readings[name])),
        "ours_is_faster": {
            "median": round(statistics.median(ratios), 1),
            "from": round(ratios[0], 1),
            "to": round(ratios[-1], 1),
        },
        "python_share": round(statistics.median(each.cpu_seconds / each.seconds for each in readings[name]), 2),
        "peak_mib": round(max(each.peak_mib for each in readings[name])),
    }


def _pools_per_s(reading: Reading) -> float:
    return len(reading.digests) / reading.seconds


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("read by", "pools", "pools/s", "ticks/s", "ours is faster", "python's share", "peak MiB")
    table = Table(*(Column(name, no_wrap=True) for name in columns), box=None)
    for row in rows:
        ratio = row["ours_is_faster"]
        table.add_row(
            row["method"],
            f"{row['pools']:,}",
            f"{row['pools_per_s']:,}",
            f"{row['ticks_per_s']:,}",
            f"{ratio['median']} times ({ratio['from']} to {ratio['to']})",
            f"{row['python_share']:.0%}",
            f"{row['peak_mib']:,}",
        )
    return table


if __name__ == "__main__":
    main()
