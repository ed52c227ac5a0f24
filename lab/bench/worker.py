"""How fast one worker is on a real Kafka: catching up, live blocks, a reorg, restarts, and what it writes meanwhile.

The states that it answers are compared with the made-up chain after each of them.

make bench-worker
"""

import asyncio
import json
import logging
import re
import shutil
import statistics
import time
from pathlib import Path
from urllib.request import urlopen

import click
import msgspec
from aiokafka import TopicPartition
from rich.console import Console

from lab.bench.made_chain import Shape
from lab.bench.worker_under_test import Bench, bench_on_kafka, changelog_bytes
from settings import Settings
from streams.kafka.records import Update, decode_chain
from streams.kafka.topic_reader import reading_consumer

REORG_DEPTH = 7
LONG_TURN_S = 0.02
console = Console(stderr=True, soft_wrap=True)


class Result(msgspec.Struct, frozen=True):
    events: int
    reading_events_per_s: float
    """Reading and decoding the same topic alone, in this process."""
    events_per_s: float
    """Catching up, from the first head on."""
    cpu_us_per_event: float
    live_block_p50_ms: float
    """From before a block is produced until HTTP answers it for all partitions."""
    live_block_p99_ms: float
    live_cpu_ms: float
    """Of the worker, per block."""
    changelog_bytes: float
    """Per touched pool and block, on the broker's disk."""
    reorg_ms: float
    """Of REORG_DEPTH blocks that touched every pool: from the record until all partitions are at the ancestor."""
    restart_s: float
    """From the start of the process until every pool is answered."""
    recovery_s: float
    """The same without its data directory: from the changelog."""
    longest_turns: dict[str, int]
    """Tasks that the event loop came to so late, in all: by seconds, from arena_event_loop_lag_seconds."""


@click.command()
@click.option("--pools", default=1000, show_default=True, help="A third each V2, V3 and V4.")
@click.option("--ticks", default=200, show_default=True, help="Of each pool that has any.")
@click.option("--blocks", default=1000, show_default=True, help="To catch up, of 400 events on 230 pools.")
@click.option("--live", default=100, show_default=True, help="Blocks that come one by one, a second apart.")
@click.option("--json", "as_json", is_flag=True)
def main(pools: int, ticks: int, blocks: int, live: int, as_json: bool) -> None:
    logging.disable(logging.WARNING)
    with bench_on_kafka(Shape(pools, ticks)) as place:
        result = asyncio.run(_run(place.bench, place.kafka_data, blocks, live))
    click.echo(json.dumps(msgspec.to_builtins(result), indent=None if as_json else 2))


async def _run(bench: Bench, kafka_data: Path, blocks: int, live: int) -> Result:
    async with bench:
        return await _measured(bench, kafka_data, blocks, live)


async def _measured(bench: Bench, kafka_data: Path, blocks: int, live: int) -> Result:
    count = len(bench.chain.pools)
    await bench.fill()
    bench.start()
    bench.wait_until_live(count)
    bench.stop()
    events = await _publish(bench, blocks)
    console.print(f"{events} events are on the topic")
    reading_s = await _reading_s(bench.settings, bench.names.chain, bench.settings.partitions)
    bench.start()
    catch_up_s, catch_up_cpu_s, share = _caught_up(bench)
    bench.check_states()
    console.print(f"caught up: {events * share / catch_up_s:,.0f} events/s")
    for _ in range(bench.settings.memory_blocks):
        await bench.publish_chain(bench.chain.block())
    bench.wait_for_head(bench.chain.tip.hash)
    size, cpu_s, turns = changelog_bytes(kafka_data, bench.settings.chain), bench.cpu_s(), _turns(bench)
    latencies = [await _live_block_s(bench) for _ in range(live)]
    size, cpu_s = changelog_bytes(kafka_data, bench.settings.chain) - size, bench.cpu_s() - cpu_s
    turns = {bound: late - turns[bound] for bound, late in _turns(bench).items()}
    reorg_s = await _reorg_s(bench)
    bench.check_states()
    bench.stop()
    restart_s = _restarted_s(bench)
    bench.stop()
    shutil.rmtree(bench.settings.data)
    recovery_s = _restarted_s(bench)
    bench.check_states()
    return Result(
        events=events,
        reading_events_per_s=round(events / reading_s),
        events_per_s=round(events * share / catch_up_s),
        cpu_us_per_event=round(1e6 * catch_up_cpu_s / (events * share), 1),
        live_block_p50_ms=round(1e3 * statistics.median(latencies), 1),
        live_block_p99_ms=round(1e3 * statistics.quantiles(latencies, n=100)[98], 1),
        live_cpu_ms=round(1e3 * cpu_s / live, 1),
        changelog_bytes=round(size / (live * min(count, bench.chain.shape.touched))),
        reorg_ms=round(1e3 * reorg_s, 1),
        restart_s=round(restart_s, 2),
        recovery_s=round(recovery_s, 2),
        longest_turns=turns,
    )


async def _publish(bench: Bench, blocks: int) -> int:
    events = 0
    for _ in range(blocks):
        records = bench.chain.block()
        await bench.publish_chain(records)
        events += sum(len(record.events) for _, record in records if isinstance(record, Update))
    return events


async def _reading_s(settings: Settings, topic: str, partitions: int) -> float:
    places = [TopicPartition(topic, number) for number in range(partitions)]
    async with reading_consumer(settings) as consumer:
        left = sum((await consumer.end_offsets(places)).values())
        consumer.assign(places)
        await consumer.seek_to_beginning()
        began_s = time.perf_counter()
        while left:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                left -= len(records)
                for record in records:
                    decode_chain(record.value or b"")
    return time.perf_counter() - began_s


def _caught_up(bench: Bench) -> tuple[float, float, float]:
    """Seconds, of the processor too, and of which share of the blocks: the first were folded before the first look."""
    first = [head for head in _heads(bench) if head]
    while len(first) < bench.settings.partitions:
        time.sleep(0.02)
        first = [head for head in _heads(bench) if head]
    began_s, cpu_s, tip = time.perf_counter(), bench.cpu_s(), bench.chain.tip
    while min(_heads(bench)) < tip.number:
        time.sleep(0.1)
    share = sum(tip.number - head for head in first) / ((tip.number - 1) * len(first))
    return time.perf_counter() - began_s, bench.cpu_s() - cpu_s, share


def _heads(bench: Bench) -> list[int]:
    return [row["head"]["number"] if row["head"] else 0 for row in bench.client.status()["partitions"]] or [0]


async def _live_block_s(bench: Bench) -> float:
    records = bench.chain.block()
    await asyncio.sleep(1.0)
    began_s = time.perf_counter()
    await bench.publish_chain(records)
    return bench.wait_for_block(bench.chain.tip.number) - began_s


async def _reorg_s(bench: Bench) -> float:
    saved = bench.chain.save()
    for _ in range(REORG_DEPTH):
        await bench.publish_chain(bench.chain.block(touched=len(bench.chain.pools)))
    bench.wait_for_head(bench.chain.tip.hash)
    began_s = time.perf_counter()
    await bench.publish_chain(bench.chain.reorg(saved))
    return bench.wait_for_head(bench.chain.tip.hash) - began_s


def _restarted_s(bench: Bench) -> float:
    began_s = time.perf_counter()
    bench.start()
    bench.wait_until_live(len(bench.chain.pools))
    return time.perf_counter() - began_s


def _turns(bench: Bench) -> dict[str, int]:
    with urlopen(f"{bench.client.url}/metrics") as answer:
        text = answer.read().decode()
    return {
        bound: int(float(count))
        for bound, count in re.findall(r'arena_event_loop_lag_seconds_bucket\{le="([^"]+)"\} ([\d.e+]+)', text)
    }


if __name__ == "__main__":
    main()
