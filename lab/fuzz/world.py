"""The forking chain of lab/fuzz/chain_model.py as a node serves it, as a feed sends it, and as a topic holds it."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

from lab.fuzz import other_dexes
from lab.fuzz.chain_model import Node as Mined
from lab.fuzz.chain_model import Plan, World
from lab.fuzz.unusual_feed import Change, as_sent
from protocols.types import PoolId
from streams.bridge.block import CompleteBlock, find_mismatches, headers_match
from streams.bridge.chain_follower import ChainFollower, Limits
from streams.bridge.chain_publisher import ChainPublisher
from streams.exex.control_layouts import is_on_wire
from streams.exex.control_messages import PoolFinal, PoolUpdate
from streams.exex.steps import AssembledBlock
from streams.feed.blocks import FeedBlock, FeedMessage, block_messages, reorg_messages, update_type_of
from streams.kafka.publisher import Entry, Publisher
from streams.kafka.records import Head, Header
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError

LIMITS = Limits(refusal_timeout_s=0.0, gap_blocks=64, reorg_timeout_s=0.0)


class WorldNode(Node):
    """Stands in for a node: it has the canonical chain, and forgets the others, as anvil does.

    Below the world's first block it has empty ones.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.absence = 0.0
        """The share of requests that get no answer; below 1, for the bridge waits for a node that is away."""
        self.refusal = 0.0
        """The share of requests for a block by its number that the node answers with an error."""

    async def header(self, at: int | str) -> NodeHeader | None:
        if self.absence and self._world.random.random() < self.absence:
            raise NodeUnavailable("the node does not answer")
        path = self._world.path
        if at == "latest":
            return header_of(path[-1])
        if self.refusal and self._world.random.random() < self.refusal:
            raise RpcError(-32000, "the node does not have it")
        if isinstance(at, int) and 0 <= at < path[0].block.number:
            return NodeHeader(at, below(self._world, at), below(self._world, at - 1), at, 7)
        found = [mined for mined in path if at in (mined.block.number, mined.block.hash)]
        return header_of(found[0]) if found else None


class WorldReader:
    """Reads the node's block and compares it with the feed's, as streams/bridge/block_reader.py does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.disagreements = 0

    async def read(self, header: NodeHeader, fed: AssembledBlock | None) -> CompleteBlock:
        mined = self._world.nodes.get(header.hash)
        if mined is None:
            return CompleteBlock(Header(header.number, header.hash, header.parent, header.timestamp), {})
        if fed is not None and fed.number == header.number:
            differ = not headers_match(header, fed) or find_mismatches(fed.updates, mined.events, mined.events)
            self.disagreements += bool(differ)
        return CompleteBlock(mined.header, dict(mined.events))


def below(world: World, number: int) -> str:
    """The hash of a block below the world's first, whose parent it ends with."""
    first = world.path[0].header
    return first.parent if number == first.number - 1 else f"0x{number % 256:02x}{'dd' * 31}"


class Topic(Publisher):
    """One partition, in memory."""

    def __init__(self) -> None:
        self.partitions = 1
        self.records: list[Entry] = []

    async def send(self, topic: str, entries: Any) -> dict[int, list[tuple[int, int]]]:
        first = len(self.records)
        self.records += entries
        return {0: [(first, len(self.records) - first)]}


def follower(world: World, node: WorldNode, topic: Topic, term: int = 1) -> tuple[ChainFollower, ChainPublisher]:
    async def nobody_else(partition: int, first: int, end: int) -> None:
        return None

    chain = ChainPublisher(topic, "chain", {0: len(topic.records)}, term, nobody_else)
    return ChainFollower(node, WorldReader(world), chain, LIMITS, lambda: True), chain


def random_world(random: Random, *, faults: bool = False) -> World:
    return World(random, Plan(random.choice((6, 12, 20)), random.choice((2, 6)), faults))


def control_frames(world: World) -> list[bytes]:
    """Every block and reorg as frames of the control protocol."""
    messages = [message for step in _steps(world) for message in other_dexes.among(world.random, step)]
    return [other_dexes.frame(world.random, message, seq) for seq, message in enumerate(messages, 1)]


def unusual_frames(world: World, changes: Sequence[Change]) -> list[bytes]:
    """As a feed sends them that makes one of the changes in each step, its sequence contiguous all the same."""
    random = world.random
    steps = [as_sent(random, list(step), changes) for step in _steps(world)]
    messages = [message for step in steps for message in other_dexes.among(random, step)]
    return [other_dexes.frame(random, message, seq) for seq, message in enumerate(messages, 1)]


def _steps(world: World) -> Iterator[Iterable[FeedMessage]]:
    path: list[Mined] = []
    for head in (record for record in world.chain if isinstance(record, Head)):
        mined = world.nodes[head.block.hash]
        if not path or mined.header.parent == path[-1].header.hash:
            path.append(mined)
            yield block_messages(_fed(mined))
            continue
        new = [mined]
        while new[0].parent is not None and new[0].parent not in path:
            new.insert(0, new[0].parent)
        if new[0].parent is None:
            continue
        keep = path.index(new[0].parent) + 1
        old, path = path[keep:], path[:keep] + new
        if old:
            ancestor = header_of(path[keep - 1])
            finals = _finals(path[-1], {pool for each in (*old, *new) for pool in each.events})
            yield reorg_messages(ancestor, [_fed(each) for each in old], [_fed(each) for each in new], finals)


def _finals(tip: Mined, pools: Iterable[PoolId]) -> list[PoolFinal]:
    touched = [tip.pools[pool] for pool in pools]
    return [PoolFinal(each.pool.id, each.pool.protocol, each.whole.price) for each in touched if each.initialized]


def _fed(mined: Mined) -> FeedBlock:
    places = [(pool, event) for pool, events in mined.events.items() for event in events]
    updates = [
        PoolUpdate(
            stream_seq=0,
            pool=pool,
            protocol=_protocol(mined, pool),
            update_type=update_type_of(event),
            block_number=mined.block.number,
            block_timestamp=mined.header.timestamp,
            tx_index=0,
            log_index=at,
            is_revert=False,
            event=event,
        )
        for at, (pool, event) in enumerate(places)
        if is_on_wire(event)
    ]
    return FeedBlock(header_of(mined), tuple(updates))


def _protocol(mined: Mined, pool: Any) -> Any:
    return mined.pools[pool].pool.protocol


def header_of(mined: Mined) -> NodeHeader:
    header = mined.header
    return NodeHeader(header.number, header.hash, header.parent, header.timestamp, 7)
