"""The plan of a round: which faults, reorgs and listings happen when, all derived from the seed."""

import random
from collections import Counter
from typing import Literal

import msgspec

from lab.devnet.chain.world import ReorgKind

WORKERS = ("worker-1", "worker-2", "worker-3")
SERVERS = ("nats", "kafka")
KILLABLE = ("bridge", "exex", "scraper", *SERVERS)
SPARES = ("bridge-2", "exex-2")
"""A second bridge and its feed, connected to the node directly instead of through the faulty proxy."""
POOLS = 13
"""On the chain at the start."""

Kind = Literal[
    "killed", "frozen", "directory lost", "directory corrupted", "left", "joined",
    "refusing", "cutting", "lagging", "silent", "unavailable", "failing", "limiting",
]  # fmt: skip
RPC_KINDS: tuple[Kind, ...] = ("refusing", "cutting", "lagging", "silent", "unavailable", "failing", "limiting")


class Fault(msgspec.Struct, frozen=True):
    at_s: float
    kind: Kind
    target: str
    lasts_s: float
    choice: float = 0.0
    """From 0 to 1: which of the files to corrupt, how much to lag."""


class Fork(msgspec.Struct, frozen=True):
    depth: int
    kind: ReorgKind
    longer_by: int


class Reorgs(msgspec.Struct, frozen=True):
    """Without a pause between them, so that the next comes before the system has followed the last."""

    at_s: float
    forks: tuple[Fork, ...]


class Listing(msgspec.Struct, frozen=True):
    at_s: float
    action: Literal["remove", "add", "replace", "create"]
    """Add: all unlisted pools. Replace: by all but `pools`. Create: one more pool, unless it exists."""
    pools: tuple[int, ...] = ()
    own_subjects: bool = False
    """On the subjects `.add` and `.remove` instead of with a type on `.full` and `.minimal`."""


class Plan(msgspec.Struct, frozen=True):
    seed: int
    lasts_s: float
    from_start: bool
    """Faults begin while processes start and take the first snapshots, not after."""
    workers: tuple[str, ...]
    """Running at the start; the others are stopped."""
    faults: tuple[Fault, ...]
    reorgs: tuple[Reorgs, ...]
    listings: tuple[Listing, ...]
    second_bridge: bool = False
    """A second bridge runs."""

    @property
    def is_secured(self) -> bool:
        """Our processes reach Kafka with a password over TLS: in one round of three, whatever else is drawn."""
        return self.seed % 3 == 0

    @property
    def most_workers(self) -> int:
        """The highest of the workers' numbers that ever run."""
        joined = {fault.target for fault in self.faults if fault.kind == "joined"}
        return max(WORKERS.index(name) + 1 for name in joined.union(self.workers))

    def counts(self) -> Counter[str]:
        named = Counter(f"{_role(fault.target)} {fault.kind}" for fault in self.faults)
        forks = [fork for reorgs in self.reorgs for fork in reorgs.forks]
        named["reorg"] += len(forks)
        named["reorg nested"] += sum(len(reorgs.forks) - 1 for reorgs in self.reorgs)
        named["reorg deeper than the memory"] += sum(fork.depth > 64 for fork in forks)
        for listing in self.listings:
            named[f"whitelist {listing.action}"] += 1
        named["second bridge"] += self.second_bridge
        named["SASL over TLS"] += self.is_secured
        return +named


def plan(seed: int, lasts_s: float = 12.0) -> Plan:
    draw = random.Random(seed)
    workers = tuple(sorted(draw.sample(WORKERS, draw.choices((1, 2, 3), (4, 4, 2))[0])))
    reorgs = tuple(_reorgs(draw, lasts_s) for _ in range(draw.randint(1, 4)))
    faults = _faults(draw, lasts_s, workers)
    from_start = draw.random() < 0.3
    listings = _listings(draw, lasts_s)
    spare = draw.random() < 0.4
    if spare:
        faults = _without_conflicts(faults, [_on_bridges(draw, lasts_s) for _ in range(draw.randint(1, 3))])
    return Plan(seed, lasts_s, from_start, workers, faults, reorgs, listings, spare)


def _faults(draw: random.Random, lasts_s: float, workers: tuple[str, ...]) -> tuple[Fault, ...]:
    count = draw.choices((1, 2, 3, 4, 5, 6), (1, 2, 4, 4, 2, 1))[0]
    return _without_conflicts((), [_fault(draw, lasts_s, workers) for _ in range(count)])


def _without_conflicts(known: tuple[Fault, ...], more: list[Fault]) -> tuple[Fault, ...]:
    found = list(known)
    for fault in more:
        if not any(_conflict(fault, other) for other in found):
            found.append(fault)
    return tuple(sorted(found, key=lambda fault: fault.at_s))


def _on_bridges(draw: random.Random, lasts_s: float) -> Fault:
    at_s, target = draw.uniform(0, lasts_s), draw.choice(("bridge", "bridge", "exex", *SPARES))
    kind: Kind = draw.choices(("killed", "frozen"), (50, 50))[0]
    return Fault(at_s, kind, target, draw.uniform(1, 12), draw.random())


def _fault(draw: random.Random, lasts_s: float, workers: tuple[str, ...]) -> Fault:
    at_s = draw.uniform(0, lasts_s)
    target = draw.choices((draw.choice(workers), *KILLABLE, "rpc", draw.choice(WORKERS)), (30, 12, 8, 8, 8, 10, 16, 8))[
        0
    ]
    if target == "rpc":
        return Fault(at_s, draw.choice(RPC_KINDS), target, draw.uniform(0.5, 10), draw.random())
    if target not in workers and target in WORKERS:
        return Fault(at_s, "joined", target, 0.0)
    kinds: tuple[Kind, ...] = ("killed", "frozen", "directory lost", "directory corrupted", "left")
    kind = draw.choices(
        kinds, (45, 25, 10, 15, 5) if target in WORKERS and len(workers) > 1 else _WEIGHTS[target in WORKERS]
    )[0]
    pause_s = draw.choice((draw.uniform(1, 4), draw.uniform(1, 15))) if kind == "frozen" else draw.uniform(0.1, 4)
    return Fault(at_s, kind, target, pause_s, draw.random())


_WEIGHTS = {True: (50, 25, 10, 15, 0), False: (60, 40, 0, 0, 0)}


def _conflict(one: Fault, other: Fault) -> bool:
    """Faults of one process must not overlap; a server, slow to start, has one fault per round."""
    apart = one.at_s + one.lasts_s + 1 < other.at_s or other.at_s + other.lasts_s + 1 < one.at_s
    return one.target == other.target and (one.target in SERVERS or not apart)


def _reorgs(draw: random.Random, lasts_s: float) -> Reorgs:
    forks = draw.choices((1, 2, 3, 4), (60, 20, 15, 5))[0]
    return Reorgs(draw.uniform(0, lasts_s), tuple(_fork(draw) for _ in range(forks)))


def _fork(draw: random.Random) -> Fork:
    depth = draw.choices(
        (draw.randint(1, 3), draw.randint(3, 12), draw.randint(12, 64), draw.randint(60, 100)), (45, 35, 15, 5)
    )[0]
    kind = draw.choices(("rewound", "replaced"), (7, 3))[0]
    longer_by = draw.choices((0, 1, 2, -draw.randint(1, depth)), (2, 5, 2, 3))[0]
    return Fork(depth, "replaced" if kind == "replaced" else "rewound", longer_by)


def _listings(draw: random.Random, lasts_s: float) -> tuple[Listing, ...]:
    chosen: list[Listing] = []
    for _ in range(draw.choices((0, 1, 2, 3), (3, 3, 2, 2))[0]):
        action = draw.choices(("remove", "add", "replace", "create"), (4, 5, 2, 2))[0]
        pools = tuple(sorted(draw.sample(range(POOLS), draw.randint(1, 4))))
        match action:
            case "remove" | "replace" as taking:
                chosen.append(Listing(draw.uniform(0, lasts_s), taking, pools, draw.random() < 0.5))
            case "add" | "create" as giving:
                chosen.append(Listing(draw.uniform(0, lasts_s), giving, (), draw.random() < 0.5))
    return tuple(sorted(chosen, key=lambda listing: listing.at_s))


def _role(target: str) -> str:
    return "worker" if target in WORKERS else target
