"""Feed, list and node onto the topics: every block whole, in order, once, and nothing lost in silence."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

from protocols.types import PoolId, PoolMetadata
from settings import Settings
from streams.bridge.block_reader import Reader
from streams.bridge.chain_follower import Follower, Limits
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.feed_reader import ControlWire, Feed, SeedWire
from streams.bridge.leader_election import leading
from streams.bridge.pool_listing import Listing, recorded
from streams.bridge.resume import highest_term, resume, tails
from streams.exex.assembly import FedBlock, FedReorg, Step
from streams.kafka.clients import producing
from streams.kafka.groups import run_until_first_exit
from streams.kafka.publisher import Publisher
from streams.kafka.topic_setup import ensure
from streams.kafka.topics import topics
from streams.nats.subscriber import subscribe
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_state import FullList, apply_full
from streams.node.client import Node, NodeUnavailable, RpcError, connect

log = logging.getLogger(__name__)

REPEAT_S = 3600.0
NODE_PAUSE_S = 2.0
CALM_S = 0.3
"""A list is taken over when no more was said for so long: what NATS retained may be a part of it, or out of date."""
SETTLING_S = 1.0


class SeedUnverified(Exception):
    def __init__(self) -> None:
        super().__init__("the seed wire has neither block marks nor V2 and V4; it needs ARENA_BRIDGE_VERIFY=true")


async def run(settings: Settings) -> None:
    """Until cancelled. Raises what it cannot go on after: ProduceFailed, SecondWriter, NoLongerLeads and the like."""
    if settings.exex_wire == "seed" and not settings.bridge_verify:
        raise SeedUnverified
    await ensure(settings)
    topic = topics(settings.chain).chain
    async with AsyncExitStack() as stack:
        lead = await stack.enter_async_context(leading(settings))
        node = await stack.enter_async_context(connect(settings.rpc))
        publisher = Publisher(await stack.enter_async_context(producing(settings)), settings.partitions)
        listing = Listing(node, publisher, settings, await recorded(settings))
        found = await tails(settings, topic)
        term = 1 + max(tail.memory.term for tail in found.values())
        ends = {partition: tail.end for partition, tail in found.items()}
        chain = ChainPublisher(publisher, topic, ends, term, partial(highest_term, settings, topic))
        log.info("this bridge leads %s, in term %d", settings.chain, term)
        await resume(chain, [tail.memory for tail in found.values()])
        await _placed(listing)
        bridge = Bridge(settings, node, listing, chain)
        await run_until_first_exit(bridge.feed.run(), bridge.hear(), bridge.publish(), lead.lost())


async def _placed(listing: Listing) -> None:
    while True:
        try:
            return await listing.place()
        except (NodeUnavailable, RpcError) as error:
            log.warning("the node is needed to find the PoolManagers of the pools held: %s", error)
            await asyncio.sleep(NODE_PAUSE_S)


class Bridge:
    """`publish` is the one task that writes; the others only lay before it what came."""

    def __init__(self, settings: Settings, node: Node, listing: Listing, chain: ChainPublisher) -> None:
        control = settings.exex_wire == "control"
        self._settings = settings
        self._node = node
        self._listing = listing
        self._chain = chain
        self._news = asyncio.Event()
        self._repeat_at_s = 0.0
        self._calm = asyncio.get_running_loop().call_later(0, self._news.set)
        self.feed = Feed(settings.exex_socket, ControlWire if control else SeedWire, settings.bridge_buffer, self._news)
        self._follower = Follower(
            node,
            Reader(node, listing, verify=settings.bridge_verify, block_marks=control, margin=settings.listing_margin),
            chain,
            Limits(settings.bridge_patience_s, settings.bridge_gap_blocks, SETTLING_S),
            self.feed.has_more,
        )

    async def hear(self) -> None:
        said = FullList(self._listing.wanted)
        async for subject, payload in subscribe(self._settings):
            try:
                said = apply_full(said, subject, payload, self._settings.chain)
            except Rejected as error:
                log.error("the list stays as it is: %s", error)  # noqa: TRY400  the sentence says it all
                continue
            for reason in said.skipped:
                log.error("left out of the list: %s", reason)
            self._calm.cancel()
            self._calm = asyncio.get_running_loop().call_later(CALM_S, self._take_over, said.pools)

    def _take_over(self, pools: Mapping[PoolId, PoolMetadata]) -> None:
        self._listing.want(pools)
        self._news.set()

    async def publish(self) -> None:
        await self._look()
        while True:
            self._news.clear()
            await self._settle()
            if step := self.feed.take():
                await self._follow(step)
            elif not await self._told(self._settings.bridge_silence_s):
                await self._look()

    async def _follow(self, step: Step) -> None:
        match step:
            case FedBlock():
                await self._follower.block(step)
            case FedReorg() if self._chain.memory.last is not None or step.blocks:
                await self._follower.reorg(step)

    async def _settle(self) -> None:
        """Between two blocks: changes of the list, and the whole of it now and then.

        Not before there is a block to count from: the one that a feed names first may turn out to be of no chain.
        """
        last = self._chain.memory.last
        if last is not None:
            await self._listing.settle(last + 1)
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._repeat_at_s:
            await self._listing.repeat()
            self._repeat_at_s = now_s + REPEAT_S

    async def _told(self, patience_s: float) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                return await self._news.wait()
        except TimeoutError:
            return False

    async def _look(self) -> None:
        """The feed is silent, or the bridge has just started: what the node has beyond the topic is published."""
        last = self._chain.memory.last
        if last is None:
            return
        try:
            latest = await self._node.header("latest")
        except (NodeUnavailable, RpcError) as error:
            log.warning("the node does not tell its head: %s", error)
            return
        if latest is not None:
            if latest.number > last:
                log.warning("the topic ends at block %d, the feed is silent, the node is at %d", last, latest.number)
            await self._follower.advance(latest.number)
