"""`make demo`: the system on a chain of its own, then every field of every pool compared with that chain."""

import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

import msgspec
from rich.console import Console

from commands.output import print_json
from lab.demo import whitelist as whitelisting
from lab.demo.console import audit_summary, comparison_table, progress
from lab.demo.whitelist import NotPublished
from lab.devnet.chain.world import World
from lab.devnet.reference.comparison import compare_pools
from lab.devnet.reference.consistency import ConsistencyChecker
from lab.devnet.reference.worker_client import WorkerClient
from lab.devnet.servers import start as servers
from lab.devnet.servers.packages import NotInstalled
from lab.devnet.servers.processes import NotStarted, free_port
from lab.devnet.servers.system import ProcessEnded, System, system
from settings import Settings

log = logging.getLogger(__name__)
console = Console(soft_wrap=True)

REORG_DEPTHS = (3, 7)
SETTLE_S = 90.0
LINES = 12
"""Of progress, over the whole run."""


class DemoOptions(msgspec.Struct, frozen=True):
    blocks: int = 60
    rate: float = 4.0
    """Blocks per second."""
    seed: int = 1
    workers: int = 1
    partitions: int = 4
    web_port: int | None = None
    keep: bool = False
    logs: Path | None = None
    """Where the processes' logs stay; None: only while it runs, or where something goes wrong."""
    as_json: bool = False
    """The comparison goes to stdout, everything else to stderr."""


class Unsettled(Exception):
    """The workers do not serve what the chain says, or not in time."""


def run(options: DemoOptions) -> int:
    """The exit code: 0 where nothing differs."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if options.as_json:
        console.file = sys.stderr
    try:
        with _running_system(options) as (world, ours):
            _traffic(options, world, ours)
            _compare(world, ours, as_json=options.as_json)
            if options.keep:
                _keep(options, world, ours)
            return 0
    except (NotInstalled, NotStarted, ProcessEnded, NotPublished, Unsettled) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything is stopped", file=sys.stderr)
        return 130


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _running_system(options: DemoOptions) -> Iterator[tuple[World, System]]:
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="arena-demo-"))
        stack.push(_cleaner(directory))
        console.print("starting Kafka, NATS and anvil; the first time they are downloaded")
        with ThreadPoolExecutor() as starting:
            kafka, nats, rpc = starting.map(stack.enter_context, (servers.kafka(), servers.nats(), servers.anvil()))
        world = World(rpc, options.seed)
        console.print(f"{len(world.pools)} pools are on the chain, head {world.chain.tip.number}")
        settings = Settings(
            chain=f"demo-{secrets.token_hex(3)}",
            kafka=kafka,
            nats=nats,
            rpc=rpc,
            rpc_ws=rpc.replace("http", "ws", 1),
            exex_socket=directory / "exex.sock",
            data=directory / "data",
            partitions=options.partitions,
            web_port=options.web_port or free_port(),
            whitelist_config=whitelisting.configuration(world.contracts, directory),
        )
        logs = options.logs or directory
        logs.mkdir(parents=True, exist_ok=True)
        ours = stack.enter_context(system(settings, options.workers, logs))
        for name in ours.names:
            ours.start(name)
        _list(world, ours)
        console.print(f"logs are in {logs}; HTTP is at {', '.join(ours.urls)}")
        yield world, ours


def _cleaner(
    directory: Path,
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]:
    """Keeps the logs where something went wrong."""

    def clean(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            shutil.rmtree(directory, ignore_errors=True)

    return clean


def _traffic(options: DemoOptions, world: World, ours: System) -> None:
    """Mines until all pools are live, then `options.blocks` more with two reorgs, while answers are compared."""
    served = WorkerClient(ours.urls[0])
    watch = ConsistencyChecker(ours.urls[:1], world)
    watch.start()
    try:
        _settle(options, world, ours)
        first, second = options.blocks // 3, 2 * options.blocks // 3
        for number in range(options.blocks):
            _block(options, world, ours)
            if number == first:
                _reorg(world, REORG_DEPTHS[0])
            if number == second - 1:
                _list_late_pool(world, ours)
            if number == second:
                _reorg(world, REORG_DEPTHS[1])
            if number % max(1, options.blocks // LINES) == 0:
                console.print(progress(world, served))
        _settle(options, world, ours)
    finally:
        watch.stop()
    console.print(f"asked while blocks came: {', '.join(f'{count} {name}' for name, count in watch.counts.items())}")
    if not watch.counts["states compared"]:
        raise Unsettled("no answer came that could be compared")
    if watch.wrong:
        raise Unsettled("answers that no block of the chain agrees with:\n" + "\n".join(watch.wrong[:10]))


def _reorg(world: World, depth: int) -> None:
    gone = world.reorg(depth)
    console.print(f"reorg of depth {depth}" + (f"; {len(gone)} pool is created again" if gone else ""))
    for _ in gone:
        world.create_late(at_tick=-5000)


def _list_late_pool(world: World, ours: System) -> None:
    """Creates and lists it in blocks that the next reorg removes."""
    world.create_late()
    _list(world, ours)


def _list(world: World, ours: System) -> None:
    published = whitelisting.publish(ours.settings)
    if published["pools"] != len(world.pools):
        raise Unsettled(f"{published['pools']} pools were found and chosen, and there are {len(world.pools)}")
    console.print(f"{len(published['added'])} pools found by the whitelist service, chosen and listed")


def _block(options: DemoOptions, world: World, ours: System) -> None:
    began = time.monotonic()
    ours.raise_if_ended()
    world.mine()
    time.sleep(max(0.0, 1 / options.rate - (time.monotonic() - began)))


def _settle(options: DemoOptions, world: World, ours: System) -> None:
    """Mines until every pool is live, then waits until every partition's head is the chain's."""
    served = WorkerClient(ours.urls[0])
    deadline = time.monotonic() + SETTLE_S
    printed = ""
    while True:
        live = served.status()["pools"].get("live", 0)
        if live == len(world.pools) and served.heads() == {world.chain.tip.hash}:
            return
        if time.monotonic() > deadline:
            raise Unsettled(f"not settled after {SETTLE_S:.0f} s: {progress(world, served)}\n{served.waiting_pools()}")
        if live < len(world.pools):
            _block(options, world, ours)
            if (line := progress(world, served)).partition(",")[2] != printed:
                console.print(line)
            printed = line.partition(",")[2]
        else:
            ours.raise_if_ended()
            time.sleep(0.1)


def _compare(world: World, ours: System, *, as_json: bool) -> None:
    tip = world.chain.tip
    found = compare_pools(WorkerClient(ours.urls[-1]), world.reference, world.pools, tip.hash)
    console.print(comparison_table(found))
    wrong = sum(len(verdict.differences) for verdict in found)
    console.print(f"{len(found)} pools at block {tip.number} {tip.hash}: {wrong} differing fields")
    console.print(audit_summary(WorkerClient(ours.urls[0]), world))
    for verdict in found:
        for difference in verdict.differences[:5]:
            console.print(f"{verdict.pool.id}: {difference}")
    if as_json:
        print_json({"block": msgspec.to_builtins(tip), "pools": msgspec.to_builtins(found)})
    if wrong:
        raise Unsettled(f"{wrong} fields differ from the chain")


def _keep(options: DemoOptions, world: World, ours: System) -> None:
    url = ours.urls[0]
    console.print(f"left running, a block every {1 / options.rate:.2g} s, until Ctrl-C. Open for example")
    for path in ("/", "/pools/", f"/pools/{world.pools[3].id}/", f"/pools/{world.pools[3].id}/ticks/", "/status/"):
        console.print(f"  {url}{path}")
    with suppress(KeyboardInterrupt):
        while True:
            _block(options, world, ours)
