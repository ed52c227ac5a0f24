"""How long after a block its event is there, and what 200 readers cost the worker that folds blocks meanwhile.

make bench-stream
"""

import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console

from lab.bench.made_chain import Shape
from lab.bench.stream_readers import Arrived
from lab.bench.worker_under_test import Bench, Place, bench_on_kafka, topic_bytes
from lab.devnet.servers.processes import Process

console = Console(stderr=True, soft_wrap=True)
PERIOD_S = 1.0
"""Between two blocks."""
WARM_UP_BLOCKS = 3


class Latency(msgspec.Struct, frozen=True):
    p50_ms: float
    p99_ms: float


class Result(msgspec.Struct, frozen=True):
    fold_without_updates: Latency
    """From before a block is produced until HTTP answers it for all partitions; ARENA_UPDATES=false."""
    fold: Latency
    """With updates, without readers."""
    fold_with_readers: Latency
    event: Latency
    """From before a block is produced until a reader has the whole event, over all readers and blocks."""
    event_bytes: int
    """Of a block, per reader."""
    topic_bytes: int
    """Of a block, on the broker's disk, compressed."""
    cpu_ms: tuple[float, float, float]
    """Of the worker, per block: without updates, with them, and with readers."""


class Measured(msgspec.Struct):
    fold_s: list[float]
    event_s: list[float]
    cpu_s: float
    event_bytes: int = 0


@click.command()
@click.option("--readers", default=200, show_default=True)
@click.option("--pools", default=1000, show_default=True, help="A third each V2, V3 and V4.")
@click.option("--blocks", default=60, show_default=True, help="Of each of the three runs, of 400 events on 230 pools.")
@click.option("--json", "as_json", is_flag=True)
def main(readers: int, pools: int, blocks: int, as_json: bool) -> None:
    logging.disable(logging.WARNING)
    with bench_on_kafka(Shape(pools)) as place:
        result = asyncio.run(_run(place, readers, blocks))
    click.echo(json.dumps(msgspec.to_builtins(result), indent=None if as_json else 2))


async def _run(place: Place, readers: int, blocks: int) -> Result:
    bench, directory, kafka_data = place
    async with bench:
        await bench.fill()
        off = await _measured(bench, directory, 0, blocks, updates=False)
        before = topic_bytes(kafka_data, bench.names.updates)
        alone = await _measured(bench, directory, 0, blocks, updates=True)
        size = topic_bytes(kafka_data, bench.names.updates) - before
        read = await _measured(bench, directory, readers, blocks, updates=True)
    return Result(
        fold_without_updates=_latency(off.fold_s),
        fold=_latency(alone.fold_s),
        fold_with_readers=_latency(read.fold_s),
        event=_latency(read.event_s),
        event_bytes=read.event_bytes,
        topic_bytes=round(size / (blocks + WARM_UP_BLOCKS)),
        cpu_ms=(_ms(off.cpu_s / blocks), _ms(alone.cpu_s / blocks), _ms(read.cpu_s / blocks)),
    )


async def _measured(bench: Bench, directory: Path, readers: int, blocks: int, *, updates: bool) -> Measured:
    bench.settings = bench.settings.model_copy(update={"updates": updates})
    bench.start()
    bench.wait_until_live(len(bench.chain.pools))
    with _reading(bench, directory, readers) as log:
        for _ in range(WARM_UP_BLOCKS):
            await _block(bench)
        cpu_s = bench.cpu_s()
        folded = [await _block(bench) for _ in range(blocks)]
        found = Measured([folded_s - began_s for _, began_s, folded_s in folded], [], bench.cpu_s() - cpu_s)
        if log is not None:
            await asyncio.sleep(3.0)
            began = {number: began_s for number, began_s, _ in folded}
            arrived = [msgspec.json.decode(line, type=Arrived) for line in log.read_text().splitlines()]
            found.event_s = [each.at_s - began[each.number] for each in arrived if each.number in began]
            sizes = [each.bytes for each in arrived if each.number in began]
            found.event_bytes = round(statistics.fmean(sizes))
            if len(sizes) != readers * blocks:
                console.print(f"{len(sizes)} events of {readers * blocks} arrived", style="red")
    bench.stop()
    return found


async def _block(bench: Bench) -> tuple[int, float, float]:
    """Its number, and when it was produced and folded."""
    records = bench.chain.block()
    await asyncio.sleep(PERIOD_S)
    began_s = time.perf_counter()
    await bench.publish_chain(records)
    number = bench.chain.tip.number
    return number, began_s, bench.wait_for_block(number)


@contextmanager
def _reading(bench: Bench, directory: Path, readers: int) -> Iterator[Path | None]:
    """Readers in a process of their own; the file has a line per reader and block."""
    if not readers:
        yield None
        return
    log = directory / "arrived.jsonl"
    command = [sys.executable, "-m", "lab.bench.stream_readers", str(readers), bench.client.url, str(log)]
    process = Process("readers", command, directory / "readers.log")
    try:
        deadline_s = time.monotonic() + 60
        while not log.exists():
            if time.monotonic() > deadline_s or process.exit_code is not None:
                raise RuntimeError(f"the readers do not read: {process.log_tail()}")
            time.sleep(0.1)
        yield log
    finally:
        process.stop()


def _latency(seconds: Sequence[float]) -> Latency:
    return Latency(_ms(statistics.median(seconds)), _ms(statistics.quantiles(seconds, n=100)[98]))


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 1)


if __name__ == "__main__":
    main()
