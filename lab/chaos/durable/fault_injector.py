"""Random faults from a seed: workers and a broker are killed, frozen, wiped and stopped while records arrive."""

import asyncio
import random
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

from lab.chaos.durable.oracle import Difference, Feed, Oracle, create_topics, producing
from lab.chaos.durable.workers import Worker
from lab.devnet.servers.kafka import Kafka

Mode = Literal["workers", "broker", "rebalances", "each"]
FAULTS = ("kill -9", "SIGSTOP", "broker kill -9", "wipe", "rescale", "SIGTERM", "broker frozen", "rescale")
EACH_S = 2.0
FROZEN_S = 11.0
"""Beyond the session time-out of lab/chaos/durable/counting_worker.py."""


class Outcome(NamedTuple):
    records: int
    events: Counter[str]
    differences: dict[bytes, Difference]
    databases: dict[int, str]
    outdated: int
    """Records of the changelog that an older writer put behind newer ones."""
    settled_s: float

    @property
    def exact(self) -> bool:
        return not self.differences and not self.databases

    def __str__(self) -> str:
        events = ", ".join(f"{name} {count}" for name, count in sorted(self.events.items()))
        verdict = "exact" if self.exact else f"NOT EXACT: {self.differences} {self.databases}"
        counted = f"{self.records} records; {events}; {self.outdated} outdated"
        return f"{verdict}; {counted}; settled after {self.settled_s:.1f} s"


class FaultInjector:
    def __init__(self, kafka: Kafka, prefix: str, directory: Path, seed: int) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.random = random.Random(seed)
        self.events: Counter[str] = Counter()
        self.workers = [Worker(f"w{number}", kafka.address, prefix, directory) for number in (1, 2, 3)]
        self.running = set(self.workers[:2])
        self.frozen: set[Worker] = set()

    async def keep_up(self) -> None:
        """As a process manager does: a worker that ends is started again."""
        while True:
            for worker in self.running - self.frozen:
                if not worker.alive:
                    if worker.process is not None and worker.process.returncode > 0:
                        self.events["worker gave up"] += 1
                    worker.start()
            await asyncio.sleep(0.2)

    async def inject(self, mode: Mode, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await asyncio.sleep(self.random.uniform(1.0, 6.0) if mode != "each" else EACH_S)
            match mode:
                case "workers":
                    await self.hit_worker()
                case "broker":
                    await self.hit_broker()
                case "rebalances":
                    await self.rescale()
                case "each":
                    await self.next_fault()

    async def next_fault(self) -> None:
        """Each in its turn, so that a short run has all of them."""
        fault = FAULTS[sum(self.events.values()) % len(FAULTS)]
        match fault:
            case "broker kill -9" | "broker frozen":
                await self.hit_broker(fault)
            case "rescale":
                await self.rescale()
            case _:
                await self.hit_worker(fault)

    async def hit_worker(self, event: str | None = None) -> None:
        awake = [worker for worker in self.workers if worker in self.running - self.frozen and worker.alive]
        if not awake:
            return
        worker = self.random.choice(awake)
        event = event or self.random.choice(["kill -9", "kill -9", "wipe", "SIGTERM", "SIGSTOP"])
        self.events[event] += 1
        match event:
            case "kill -9":
                worker.kill()
            case "wipe":
                worker.kill()
                worker.wipe()
            case "SIGTERM":
                await worker.stop()
            case "SIGSTOP":
                self.frozen.add(worker)
                worker.freeze()
                asyncio.get_running_loop().call_later(FROZEN_S, self.thaw, worker)

    def thaw(self, worker: Worker) -> None:
        if worker in self.frozen:
            self.frozen.discard(worker)
            worker.thaw()

    async def hit_broker(self, event: str | None = None) -> None:
        event = event or self.random.choice(["broker kill -9", "broker frozen"])
        self.events[event] += 1
        if event == "broker kill -9":
            self.kafka.kill()
            await asyncio.sleep(self.random.uniform(0.0, 5.0))
            await asyncio.to_thread(self.kafka.start)
        else:
            self.kafka.freeze()
            await asyncio.sleep(self.random.uniform(3.0, 12.0))
            self.kafka.thaw()

    async def rescale(self) -> None:
        """One worker, three, one."""
        self.events["rescale"] += 1
        many = len(self.running) < 3
        wanted = set(self.workers) if many else {self.random.choice(self.workers)}
        for worker in self.running - wanted:
            self.running.discard(worker)
            await worker.stop()
        self.running = wanted


class Plan(NamedTuple):
    mode: Mode
    seed: int
    seconds: float
    per_s: float
    """Records."""


async def run(kafka: Kafka, directory: Path, plan: Plan) -> Outcome:
    prefix = f"{plan.mode}{plan.seed}-{uuid.uuid4().hex[:6]}"
    await create_topics(kafka.address, prefix)
    injector = FaultInjector(kafka, prefix, directory, plan.seed)
    keeper = asyncio.create_task(injector.keep_up())
    try:
        async with producing(kafka.address) as producer:
            feed = Feed(producer, prefix, plan.seed)
            await asyncio.gather(feed.at_rate(plan.per_s, plan.seconds), injector.inject(plan.mode, plan.seconds))
            for worker in list(injector.frozen):
                injector.thaw(worker)
            started = time.monotonic()
            async with Oracle(kafka.address, prefix) as oracle:
                await oracle.caught_up(90)
                settled_s = time.monotonic() - started
                keeper.cancel()
                for worker in injector.workers:
                    if worker.alive:
                        await worker.stop()
                await oracle.caught_up(30)
                databases = oracle.database_differences(injector.workers)
                differences = oracle.differences(feed.expected())
                return Outcome(feed.sent, injector.events, differences, databases, oracle.outdated, settled_s)
    finally:
        keeper.cancel()
        for worker in injector.workers:
            worker.kill()
