"""`make demo`: everything on a chain of its own, then every field of every pool held against that chain."""

import asyncio
import logging
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console
from rich.table import Table

from demo import listing, servers
from demo.packages import NotInstalled
from demo.processes import NotStarted, free_port
from demo.served import Served, Verdict, Watch, verdicts
from demo.system import Ended, System, system
from demo.world import World
from settings import Settings

log = logging.getLogger(__name__)
console = Console(soft_wrap=True)

REORG_DEPTHS = (3, 7)
SETTLE_S = 90.0
LINES = 12
"""Of progress, over the whole run."""


class Wishes(msgspec.Struct, frozen=True):
    blocks: int = 60
    rate: float = 4.0
    """Blocks per second."""
    seed: int = 1
    workers: int = 1
    partitions: int = 4
    web_port: int | None = None
    keep: bool = False


class Unsettled(Exception):
    """The workers did not reach the chain's head with all pools live in time."""


def run(wishes: Wishes) -> int:
    """The exit code: 0 where nothing differs."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        with _everything(wishes) as (world, ours):
            _traffic(wishes, world, ours)
            return _compare(world, ours) or (_keep(wishes, world, ours) if wishes.keep else 0)
    except (NotInstalled, NotStarted, Ended, Unsettled) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything is stopped", file=sys.stderr)
        return 130


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _everything(wishes: Wishes) -> Iterator[tuple[World, System]]:
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="arena-demo-", ignore_cleanup_errors=True))
        )
        console.print("starting Kafka, NATS and anvil; the first time they are downloaded")
        with ThreadPoolExecutor() as starting:
            kafka, nats, rpc = starting.map(stack.enter_context, (servers.kafka(), servers.nats(), servers.anvil()))
        world = World(rpc, wishes.seed)
        console.print(f"{len(world.pools)} pools are on the chain, head {world.chain.tip.number}")
        settings = Settings(
            chain=f"demo-{secrets.token_hex(3)}",
            kafka=kafka,
            nats=nats,
            rpc=rpc,
            rpc_ws=rpc.replace("http", "ws", 1),
            exex_socket=directory / "exex.sock",
            data=directory / "data",
            partitions=wishes.partitions,
            web_port=wishes.web_port or free_port(),
        )
        ours = stack.enter_context(system(settings, wishes.workers, directory))
        for name in ours.names:
            ours.start(name)
        asyncio.run(listing.publish(nats, settings.chain, world.pools))
        console.print(f"logs are in {directory}; HTTP is at {', '.join(ours.urls)}")
        yield world, ours


def _traffic(wishes: Wishes, world: World, ours: System) -> None:
    """Blocks until all pools are live; then those that were wished for, at their rate, with both reorgs; watched."""
    served = Served(ours.urls[0])
    watch = Watch(ours.urls[0], world)
    watch.start()
    try:
        _settle(wishes, world, ours)
        first, second = wishes.blocks // 3, 2 * wishes.blocks // 3
        for number in range(wishes.blocks):
            _block(wishes, world, ours)
            if number == first:
                _reorg(world, REORG_DEPTHS[0])
            if number == second - 1:
                _list_late_pool(world, ours)
            if number == second:
                _reorg(world, REORG_DEPTHS[1])
            if number % max(1, wishes.blocks // LINES) == 0:
                console.print(_progress(world, served))
        _settle(wishes, world, ours)
    finally:
        watch.stop()
    console.print(f"asked while blocks came: {', '.join(f'{count} {name}' for name, count in watch.counts.items())}")
    if watch.wrong:
        raise Unsettled("answers that no block of the chain agrees with:\n" + "\n".join(watch.wrong[:10]))


def _reorg(world: World, depth: int) -> None:
    gone = world.reorg(depth)
    console.print(f"reorg of depth {depth}" + (f"; {len(gone)} pool is created again" if gone else ""))
    for _ in gone:
        world.create_late(at_tick=-5000)


def _list_late_pool(world: World, ours: System) -> None:
    """Created and listed in blocks that the next reorg takes away."""
    world.create_late()
    asyncio.run(listing.publish(ours.settings.nats, ours.settings.chain, world.pools))
    console.print("one more pool is created and listed")


def _block(wishes: Wishes, world: World, ours: System) -> None:
    began = time.monotonic()
    ours.check()
    world.mine()
    time.sleep(max(0.0, 1 / wishes.rate - (time.monotonic() - began)))


def _settle(wishes: Wishes, world: World, ours: System) -> None:
    """Blocks until every pool is live; then none until every partition's head is the chain's."""
    served = Served(ours.urls[0])
    deadline = time.monotonic() + SETTLE_S
    told = ""
    while True:
        live = served.status()["pools"].get("live", 0)
        if live == len(world.pools) and served.heads() == {world.chain.tip.hash}:
            return
        if time.monotonic() > deadline:
            raise Unsettled(f"not settled after {SETTLE_S:.0f} s: {_progress(world, served)}\n{_waiting(served)}")
        if live < len(world.pools):
            _block(wishes, world, ours)
            if (progress := _progress(world, served)).partition(",")[2] != told:
                console.print(progress)
            told = progress.partition(",")[2]
        else:
            ours.check()
            time.sleep(0.1)


def _progress(world: World, served: Served) -> str:
    status = served.status()
    live = status["pools"].get("live", 0)
    reasons = ", ".join(f"{count} {reason}" for reason, count in status["reasons"].items())
    waiting = f"; waiting: {reasons}" if reasons else ""
    return f"chain {world.chain.tip.number}, served {status['head']}, {live} of {len(world.pools)} pools live{waiting}"


def _waiting(served: Served) -> str:
    answer = served.get("/pools/?status=waiting") or {"pools": []}
    return "\n".join(f"{pool['protocol']} {pool['id']} waits: {pool['reason']}" for pool in answer["pools"])


def _compare(world: World, ours: System) -> int:
    tip = world.chain.tip
    found = verdicts(Served(ours.urls[-1]), world.judge, world.pools, tip.hash)
    console.print(_table(found))
    wrong = sum(len(verdict.differences) for verdict in found)
    console.print(f"{len(found)} pools at block {tip.number} {tip.hash}: {wrong} differing fields")
    console.print(_told(Served(ours.urls[0]), world))
    for verdict in found:
        for difference in verdict.differences[:5]:
            console.print(f"{verdict.pool.id}: {difference}")
    return 0 if wrong == 0 else 1


def _told(served: Served, world: World) -> str:
    """What the workers say of how they got there."""
    stories = [served.get(f"/pools/{pool.id}/explain/") or {} for pool in world.pools]
    names = ("updates_applied", "rewinds", "audits", "divergences")
    counts = ", ".join(f"{sum(story.get(name, 0) for story in stories)} {name.replace('_', ' ')}" for name in names)
    diverged = [f"\n{story['id']}: {story['last_divergence']}" for story in stories if story.get("divergences")]
    return counts + "".join(diverged)


def _table(found: Sequence[Verdict]) -> Table:
    table = Table("pool", "protocol", "fee", "spacing", "fields", "ticks", "differing", box=None, pad_edge=False)
    for verdict in found:
        pool = verdict.pool
        fields = {"v2": 2, "v3": 3, "v4": 5}[pool.protocol]
        shown = (pool.id[:18], pool.protocol, pool.fee or "", pool.tick_spacing or "", fields, verdict.ticks)
        table.add_row(*map(str, shown), str(len(verdict.differences)))
    return table


def _keep(wishes: Wishes, world: World, ours: System) -> int:
    url = ours.urls[0]
    console.print(f"left running, a block every {1 / wishes.rate:.2g} s, until Ctrl-C. Open for example")
    for path in ("/pools/", f"/pools/{world.pools[3].id}/", f"/pools/{world.pools[3].id}/ticks/", "/status/"):
        console.print(f"  {url}{path}")
    while True:
        ours.check()
        world.mine()
        time.sleep(1 / wishes.rate)
