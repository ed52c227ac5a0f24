"""`arena replay`: the exact state of every pool at a block, from the topics alone."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from commands.history.pool_ids import pool_ids
from commands.history.progress import progress_bars
from commands.output import json_option, print_fields, print_json
from commands.queries.worker_client import ask
from commands.version import version
from protocols.types import Block
from replay import parquet
from replay.backfill.plan import topics_prefix
from replay.pool_line import encode_line
from replay.run import Replayed, Task, count_records, replay_topics
from replay.target import target_block
from replay.verify import differences
from settings import Settings, settings
from streams.kafka.topics import topics


class Options(msgspec.Struct, frozen=True):
    until: str
    first: int | None
    pools: str | None
    out: str | None
    output_format: str | None
    name: str | None
    verify: bool
    hex_strings: bool
    dry: bool
    overwrite: bool
    as_json: bool

    @property
    def is_parquet(self) -> bool:
        return self.output_format == "parquet" or (self.output_format is None and self.out not in (None, "-"))

    def topics(self, chain: str) -> str:
        return chain if self.name is None else topics_prefix(chain, self.name)


@click.command(epilog="Example: ./arena replay --until 21234567 --out - --format jsonl")
@click.option("--until", default="latest", show_default=True, metavar="BLOCK|latest", help="The state at its end.")
@click.option("--from", "first", type=click.IntRange(min=0), help="Parquet: every change from this block on, too.")
@click.option("--pools", metavar="ID,ID,…", help="Only these.")
@click.option("--out", metavar="FILE.parquet|DIR|-", help="Standard output is -. Without it: a summary.")
@click.option("--format", "output_format", type=click.Choice(["jsonl", "parquet"]), help="jsonl for -, else parquet.")
@click.option("--topics", "name", metavar="NAME", help="Of a backfill, in place of the live topics.")
@click.option("--verify", is_flag=True, help="Compare with the workers' tables; exit code 1 if anything differs.")
@click.option("--hex", "hex_strings", is_flag=True, help="Parquet: ids and hashes as 0x strings, not bytes.")
@click.option("--dry", is_flag=True, help="Say what would be read and written.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@json_option
def replay(**arguments: Any) -> None:
    """Fold the topics without a worker: the exact state of every pool at a block.

    Nothing is written to Kafka, and the workers' groups are not touched.
    """
    options, configured = Options(**arguments), settings()
    task = Task(options.topics(configured.chain), _block(configured, options), pool_ids(options.pools), options.first)
    files = _files(configured.chain, options, task.block)
    if options.is_parquet:
        parquet.expect_writable(list(files.values()), overwrite=options.overwrite or options.dry)
    if options.dry:
        _print_plan(configured, task, files, options)
        return
    records = count_records(configured, task.topics)
    with progress_bars(quiet=options.as_json) as bars:
        replayed = replay_topics(configured, task, lambda read: bars.update("records", read, records))
    _write(configured, options, files, replayed)
    found = _verify(configured, replayed) if options.verify else []
    if options.out != "-":
        _print_summary(replayed, files, found, options)
    if found:
        sys.exit(1)


def _block(configured: Settings, options: Options) -> Block:
    if options.until != "latest" and not (options.until.isdecimal() and len(options.until) < 20):
        raise click.BadParameter(f"{options.until!r} is neither a block number nor 'latest'", param_hint="--until")
    number = None if options.until == "latest" else int(options.until)
    block = asyncio.run(target_block(configured, topics(options.topics(configured.chain)).chain, number))
    if options.first is not None and options.first > block.number:
        raise click.BadParameter(
            f"block {options.first} is after block {block.number}, where the replay ends", param_hint="--from"
        )
    return block


def _files(chain: str, options: Options, block: Block) -> dict[str, Path]:
    """Dataset to file."""
    if options.out is None or options.out == "-":
        return {}
    out = Path(options.out)
    if not options.is_parquet:
        return {"jsonl": out}
    if out.suffix == ".parquet":
        return {"pool_states": out}
    names = parquet.file_names(chain, block.number if options.first is None else options.first, block.number)
    wanted = names if options.first is not None else {name: names[name] for name in names if name != "pool_events"}
    return {dataset: out / name for dataset, name in wanted.items()}


def _write(configured: Settings, options: Options, files: dict[str, Path], replayed: Replayed) -> None:
    if not options.is_parquet:
        if options.out == "-":
            _write_lines(replayed, sys.stdout.buffer.write)
        for path in files.values():
            if path.exists() and not options.overwrite:
                raise parquet.FileExists(path)
            with path.open("wb") as file:
                _write_lines(replayed, file.write)
        return
    first = replayed.block.number if options.first is None else options.first
    written = parquet.Options(configured.chain, configured.chain_id, version(), first, options.hex_strings)
    for dataset, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write(dataset, path, parquet.rows_of(dataset, replayed), replayed, written)


def _write_lines(replayed: Replayed, write: Callable[[bytes], object]) -> None:
    for line in replayed.lines:
        write(encode_line(line) + b"\n")
    last = {"block": replayed.block, "pools": len(replayed.lines), "digest": replayed.digest}
    write(msgspec.json.encode(last) + b"\n")
    sys.stdout.flush()


def _verify(configured: Settings, replayed: Replayed) -> list[str]:
    found = list(differences(replayed.lines, lambda path, query: ask(configured, path, query)))
    for difference in found:
        click.echo(difference, err=True)
    return found


def _print_plan(configured: Settings, task: Task, files: dict[str, Path], options: Options) -> None:
    plan: dict[str, Any] = {
        "block": msgspec.to_builtins(task.block),
        "topics": [getattr(topics(task.topics), name) for name in ("whitelist", "snapshots", "chain")],
        "records": count_records(configured, task.topics),
        "files": [str(path) for path in files.values()],
    }
    _print(plan, options)


def _print_summary(replayed: Replayed, files: dict[str, Path], found: Sequence[str], options: Options) -> None:
    live = sum(line.status == "live" for line in replayed.lines)
    summary: dict[str, Any] = {
        "block": msgspec.to_builtins(replayed.block),
        "pools": len(replayed.lines),
        "live": live,
        "waiting": len(replayed.lines) - live,
        "undecodable_records": replayed.undecodable,
        "digest": replayed.digest,
        "files": [str(path) for path in files.values()],
    }
    if options.verify:
        summary["differences"] = len(found)
    _print(summary, options)


def _print(fields: dict[str, Any], options: Options) -> None:
    if options.as_json:
        print_json(fields)
    else:
        print_fields({name: ", ".join(value) if isinstance(value, list) else value for name, value in fields.items()})
