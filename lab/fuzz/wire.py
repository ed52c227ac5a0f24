"""Mutated socket bytes through all that the bridge does with them, its node a model of a chain.

A stream is refused (BadFrame) or gives steps; in both cases the topic must end with the node's own chain: every
block with the node's own updates, none missing, none doubled, and a Gap only where the node answers with an error. Any
other exception is a finding, and so is a stream that takes longer than TIMEOUT_S.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from unittest.mock import patch

import stamina

from lab.fuzz import mutation
from lab.fuzz.chain_model import World
from lab.fuzz.seed_wire import seed_frames
from lab.fuzz.unusual_feed import LIES, UNUSUAL
from lab.fuzz.world import Topic, WorldNode, below, control_frames, follower, random_world, unusual_frames
from streams.bridge import chain_follower
from streams.bridge.chain_follower import ChainFollower
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.feed_reader import ControlWire, FeedStep, SeedWire, StepLost, Wire
from streams.exex.bincode import BadFrame
from streams.exex.steps import AssembledBlock, AssembledReorg
from streams.kafka.records import Gap, Head, Reorg, Update, decode_chain

FRAMES = Path(__file__).parent.parent.parent / "tests" / "frames"
TIMEOUT_S = 30.0
MOST_ATTEMPTS = 1_000_000
NODE_FAULTS = ((0.0, 0.0), (0.0, 0.0), (0.1, 0.0), (0.5, 0.0), (0.0, 0.1), (0.0, 1.0), (0.2, 0.2))
"""The shares of requests without an answer, and of those answered with an error."""


class Finding(Exception):
    """The system did what it must not do."""


def golden(name: str) -> list[bytes]:
    return [bytes.fromhex(json.loads(line)["hex"]) for line in (FRAMES / name).read_text().splitlines()]


FOREIGN = {
    ControlWire: golden("control.jsonl"),
    SeedWire: golden("seed.jsonl") + golden("seed_hex_strings.jsonl") + golden("seed_untagged_reorg.jsonl"),
}


FEEDS = (UNUSUAL, (*UNUSUAL, *LIES))


class Streams:
    """Inputs for one wire; a chain serves for several of them."""

    def __init__(self, wire: type[ControlWire] | type[SeedWire]) -> None:
        self._wire = wire

    async def run(self, random: Random, inputs: int, counts: Counter[str]) -> None:
        """Raises Finding, and whatever else a fault raises."""
        world = random_world(random)
        pieces = control_frames(world) if self._wire is ControlWire else list(seed_frames(world))
        for _ in range(inputs):
            if self._wire is ControlWire and random.random() < 0.5:
                counts["unusual feeds"] += 1
                await stream(random, self._wire, world, unusual_frames(world, random.choice(FEEDS)), counts)
            else:
                await stream(random, self._wire, world, pieces, counts)


async def stream(
    random: Random, wire: type[ControlWire] | type[SeedWire], world: World, pieces: list[bytes], counts: Counter[str]
) -> None:
    if pieces and random.random() < 0.4:
        pieces = mutation.of_pieces(random, pieces)
    data = b"".join(pieces)
    for _ in range(random.choice((0, 1, 1, 1, 2, 5))):
        data = mutation.of_bytes(random, data, FOREIGN[wire])
    topic, node = Topic(), WorldNode(world)
    following, publisher = follower(world, node, topic)
    node.absence, node.refusal = absence, refusal = random.choice(NODE_FAULTS)
    with (
        stamina.set_testing(True, attempts=MOST_ATTEMPTS),
        patch.multiple(chain_follower, LONGEST_DELAY_S=0.0, REORG_POLL_S=0.0),
    ):
        async with asyncio.timeout(TIMEOUT_S):
            for step in _steps(random, wire, data, counts):
                await _follow(world, following, publisher, step)
                is_faulty = random.random() < 0.8
                node.absence, node.refusal = (absence, refusal) if is_faulty else (0.0, 0.0)
            node.absence = node.refusal = 0.0
            world.extend()
            await following.catch_up(world.tip.block.number)
    check(world, topic, gaps=refusal > 0)


def _steps(
    random: Random, wire: type[ControlWire] | type[SeedWire], data: bytes, counts: Counter[str]
) -> Iterator[FeedStep]:
    """What the reads of one connection give; after a refusal those of the next, which joins somewhere behind."""
    reading: Wire = wire()
    for cut in mutation.cuts(random, data):
        try:
            yield from reading.receive(cut)
            if random.random() < 0.3:
                yield from reading.flush()
        except BadFrame:
            counts["refused"] += 1
            reading = wire()
        else:
            counts["read"] += 1
    yield from reading.flush()


async def _follow(world: World, following: ChainFollower, publisher: ChainPublisher, step: FeedStep) -> None:
    """As Bridge does."""
    match step:
        case AssembledBlock():
            await following.catch_up(step.number, step)
        case AssembledReorg() if publisher.published.last is not None or step.blocks:
            await following.follow_reorg(step)
        case StepLost(in_reorg=True) if publisher.published.last is not None:
            await following.follow_reorg(AssembledReorg(world.tip.block.number, ()))
        case StepLost() if publisher.published.last is not None:
            await following.catch_up(world.tip.block.number)


def check(world: World, topic: Topic, *, gaps: bool) -> None:
    """Raises Finding where the topic is not the chain as the node has it."""
    path: list[str] = []
    pending: dict[str, object] = {}
    for entry in topic.records:
        match decode_chain(entry.value or b""):
            case Update(pool, _, events):
                pending[pool] = events
            case Head(header):
                mined = world.nodes.get(header.hash)
                _expect(pending == (mined.events if mined else {}), f"block {header.number} has other updates")
                _expect(path[-1:] in ([], [header.parent]), f"block {header.number} does not follow the one before")
                path.append(header.hash)
                pending = {}
            case Reorg(ancestor):
                _expect(ancestor.hash in path, f"block {ancestor.number} of a reorg is not on the topic")
                del path[path.index(ancestor.hash) + 1 :]
            case Gap() as gap:
                _expect(gaps, f"{gap}, though the node has every block")
                path, pending = [], {}
    whole = [below(world, number) for number in range(world.path[0].block.number)]
    tail = [*whole, *(mined.block.hash for mined in world.path)][-len(path) :]
    _expect(bool(path) and path == tail, f"the topic ends with {len(path)} blocks that are not the node's last")


def _expect(held: bool, otherwise: str) -> None:
    if not held:
        raise Finding(otherwise)
