"""One round of chaos: the system on real servers, a plan of faults, and the comparison with the chain at the end."""

import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lab.chaos.fault_injector import FaultInjector
from lab.chaos.faults import Listing, Plan, Reorgs
from lab.chaos.replayed import replay_differences
from lab.chaos.streamed import StreamReaders
from lab.chaos.whitelist_churn import ChangingWhitelist
from lab.devnet.chain.world import World
from lab.devnet.reference.comparison import compare_pools
from lab.devnet.reference.consistency import ConsistencyChecker
from lab.devnet.reference.topic_continuity import TopicContinuity
from lab.devnet.servers.anvil import Anvil
from lab.devnet.servers.kafka import Kafka
from lab.devnet.servers.kafka_security import PASSWORD, USER
from lab.devnet.servers.node_proxy import NodeProxy
from lab.devnet.servers.processes import free_port
from lab.devnet.servers.server import Server
from lab.devnet.servers.system import System, system
from settings import Settings

FIRST_BLOCKS = 130
"""The chain's length before the first fault, so that the deepest reorg finds an ancestor in it."""
FULL_BLOCKS = 15
"""The last of them, with traffic."""
SETTLE_S = 180.0
BLOCK_S = 0.25


class Report(msgspec.Struct, frozen=True):
    plan: Plan
    blocks: int
    recovery_s: float
    """From the end of the last fault until every listed pool is live at the chain's head."""
    answers: Counter[str]
    ended: Counter[str]
    """Processes that ended by themselves, by name; each was started again."""
    differences: tuple[str, ...]


def run_round(plan: Plan, servers: Mapping[str, Server], directory: Path) -> Report:
    """The logs of all processes are in `directory` afterwards."""
    with Anvil() as anvil, _round(plan, servers, anvil.address, directory) as running:
        began_at = running.world.chain.tip.number
        watch = ConsistencyChecker(running.ours.urls, running.world)
        watch.start()
        with StreamReaders(running.ours.urls) as streams:
            try:
                running.run(plan)
                recovery_s, wrong = running.settle()
            finally:
                watch.stop()
            wrong += watch.wrong + running.differences(streams)
        blocks = running.world.chain.tip.number - began_at
        return Report(plan, blocks, recovery_s, watch.counts + streams.counts, running.injector.ended, tuple(wrong))


class Round:
    """Runs a plan on a system, and says where the system differs from the chain afterwards."""

    def __init__(self, world: World, ours: System, servers: Mapping[str, Server], proxy: NodeProxy, seed: int) -> None:
        self.world = world
        self.ours = ours
        self.publisher = ChangingWhitelist(servers["nats"].address, ours.settings.chain, world.pools)
        self.injector = FaultInjector(ours, servers, proxy)
        self._random = random.Random(seed)
        self._continuity = TopicContinuity(ours.settings, world.chain.rpc)

    def run(self, plan: Plan) -> None:
        """Mines blocks at random moments while faults run in threads of their own; returns when all are over."""
        self.injector.start_processes(plan)
        if not plan.from_start:
            self._until(self._is_settled)
        agenda: list[Reorgs | Listing] = sorted((*plan.reorgs, *plan.listings), key=lambda each: each.at_s)
        began_s = time.monotonic()
        with ThreadPoolExecutor(max_workers=max(1, len(plan.faults))) as threads:
            faults = [threads.submit(self.injector.inject, fault, began_s) for fault in plan.faults]
            while agenda or _pending(faults) or time.monotonic() < began_s + plan.lasts_s:
                while agenda and time.monotonic() >= began_s + agenda[0].at_s:
                    self._trigger(agenda.pop(0))
                self._mine(self._random.choice((0.0, 0.05, BLOCK_S, BLOCK_S, 2 * BLOCK_S)))
        for fault in faults:
            fault.result()

    def settle(self) -> tuple[float, list[str]]:
        """Seconds until every listed pool was live while blocks came, and what was wrong after the time limit."""
        self.publisher.wait_until_published(SETTLE_S)
        began_s = time.monotonic()
        if not self._until(self._is_settled):
            return SETTLE_S, [f"not settled after {SETTLE_S:.0f} s", *self._state()]
        took_s = time.monotonic() - began_s
        while not self._is_settled() or self._heads() != {self.world.chain.tip.hash}:
            self.injector.restart_ended()
            if time.monotonic() > began_s + took_s + SETTLE_S / 3:
                return took_s, ["the tip is not served although blocks have stopped", *self._state()]
            time.sleep(0.1)
        return took_s, []

    def _until(self, condition: Callable[[], bool]) -> bool:
        """Mines blocks until it holds; False after the time limit."""
        deadline_s = time.monotonic() + SETTLE_S
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            self._mine(BLOCK_S)
        return True

    def differences(self, streams: StreamReaders) -> list[str]:
        """Every pool of every worker, reader and replay, every block on the topic, and removed pools still served."""
        tip = self.world.chain.tip
        listed = [pool for pool in self.world.pools if pool.id in self.publisher.listed]
        wrong = self._continuity.differences(tip.hash)
        wrong += streams.differences(self.injector.running(), self.world.reference, listed, tip)
        wrong += replay_differences(self.ours.settings, self.world.reference, listed, tip)
        for served in self.injector.running():
            for verdict in compare_pools(served, self.world.reference, listed, tip.hash):
                wrong += [f"{served.url} {verdict.pool.id}: {each}" for each in verdict.differences]
            wrong += [
                f"{served.url} still serves {pool.id}, which is not listed"
                for pool in self.world.pools
                if pool.id not in self.publisher.listed and served.get(f"/pools/{pool.id}/") is not None
            ]
        return wrong

    def _trigger(self, event: Reorgs | Listing) -> None:
        if isinstance(event, Listing):
            self._list(event)
            return
        for fork in event.forks:
            depth = min(fork.depth, self.world.chain.tip.number - self.world.settled)
            for _ in self.world.reorg(depth, kind=fork.kind, longer_by=fork.longer_by):
                self.world.create_late(at_tick=self._random.randrange(-5000, 5000))

    def _list(self, event: Listing) -> None:
        pools = [pool for number, pool in enumerate(self.world.pools) if number in event.pools]
        match event.action:
            case "create":
                if self.world.has_late:
                    return
                self.publisher.publish("add", [self.world.create_late()], own_subjects=event.own_subjects)
            case "add":
                self.publisher.publish("add", self.world.pools, own_subjects=event.own_subjects)
            case "remove":
                self.publisher.publish("remove", pools, own_subjects=event.own_subjects)
            case "replace":
                self.publisher.publish("replace", [pool for pool in self.world.pools if pool not in pools])

    def _mine(self, pause_s: float) -> None:
        self.injector.restart_ended()
        self.world.mine()
        time.sleep(pause_s)

    def _is_settled(self) -> bool:
        """Every listed pool, and no other, is live at one of the last few heads."""
        tip = self.world.chain.tip.number
        for served in self.injector.running():
            status = served.status()
            heads = [row["head"]["number"] for row in status["partitions"] if row["head"]]
            if len(heads) < self.ours.settings.partitions or min(heads) < tip - 3:
                return False
            if +Counter(status["pools"]) != Counter(live=len(self.publisher.listed)):
                return False
        return True

    def _heads(self) -> set[str]:
        return {head for served in self.injector.running() for head in served.heads()}

    def _state(self) -> list[str]:
        states = [f"{served.url}: {served.status()}\n{served.waiting_pools()}" for served in self.injector.running()]
        return [f"the tip is {self.world.chain.tip.number} {self.world.chain.tip.hash}", *states]


@contextmanager
def _round(plan: Plan, servers: Mapping[str, Server], rpc: str, directory: Path) -> Iterator[Round]:
    world = World(rpc, plan.seed)
    world.grow(FIRST_BLOCKS - FULL_BLOCKS)
    for _ in range(FULL_BLOCKS):
        world.mine()
    proxy = NodeProxy(rpc)
    settings = Settings.model_validate(
        {
            "chain": f"chaos-{plan.seed}-{secrets.token_hex(2)}",
            "nats": servers["nats"].address,
            "rpc": proxy.url,
            "rpc_ws": proxy.url.replace("http", "ws", 1),
            "exex_socket": directory / "exex.sock",
            "data": directory / "data",
            "partitions": 4,
            "web_port": free_port(),
            "session_timeout_s": 6,
            **_kafka(servers["kafka"], is_secured=plan.is_secured),
        }
    )
    own = {"rpc": rpc, "rpc_ws": rpc.replace("http", "ws", 1), "exex_socket": directory / "exex-2.sock"}
    spare = settings.model_copy(update=own) if plan.second_bridge else None
    with system(settings, plan.most_workers, directory, spare) as ours:
        running = Round(world, ours, servers, proxy, plan.seed)
        try:
            yield running
        finally:
            running.publisher.stop()
            proxy.stop()


def _kafka(server: Server, *, is_secured: bool) -> dict[str, object]:
    security = server.security if isinstance(server, Kafka) else None
    if security is None or not is_secured:
        return {"kafka": server.address}
    return {
        "kafka": security.sasl_address,
        "kafka_username": USER,
        "kafka_password": PASSWORD,
        "kafka_tls_ca": security.ca,
    }


def _pending(faults: list[Future[None]]) -> bool:
    return any(not fault.done() for fault in faults)
