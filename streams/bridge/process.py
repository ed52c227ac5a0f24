"""The process `bridge`: publishes the feed's blocks and the NATS whitelist on the chain's topics."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

from protocols.types import PoolId, PoolMetadata
from settings import Settings
from streams.bridge.block_reader import BlockReader
from streams.bridge.chain_follower import ChainFollower, Limits
from streams.bridge.chain_publisher import ChainPublisher
from streams.bridge.feed_reader import ControlWire, FeedReader, FeedStep, SeedWire, StepLost
from streams.bridge.leader_election import elected
from streams.bridge.metrics import NODE_HEAD
from streams.bridge.pool_listing import PoolListing, read_listed
from streams.bridge.resume import resume, resumed_publisher
from streams.exex.steps import AssembledBlock, AssembledReorg
from streams.kafka.clients import producing
from streams.kafka.groups import run_until_first_exit
from streams.kafka.publisher import Publisher
from streams.kafka.topic_setup import ensure_topics
from streams.nats.subscriber import subscribe
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_state import FullList, apply_full
from streams.node.client import Node, connect_node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.state.chain_facts import ChainFactsReader
from streams.retry import Retries

log = logging.getLogger(__name__)

REPUBLISH_S = 3600.0
NODE_RETRY_S = 2.0
LIST_SETTLES_S = 0.3
"""A list is applied when no message came for so long: what NATS retains comes in parts, the oldest first."""
LIST_LONGEST_S = 5.0
"""And after so long at the latest, though messages keep coming."""
REORG_TIMEOUT_S = 1.0
NODE_HEAD_POLL_S = 15.0


class SeedUnverified(Exception):
    def __init__(self) -> None:
        super().__init__("the seed wire has neither block marks nor V2 and V4; it needs ARENA_BRIDGE_VERIFY=true")


async def run(settings: Settings) -> None:
    """Until cancelled. Raises ProduceFailed, SecondWriter, LeadershipLost and others after which it must restart."""
    if settings.exex_wire == "seed" and not settings.bridge_verify:
        raise SeedUnverified
    await ensure_topics(settings)
    async with AsyncExitStack() as stack:
        leadership = await stack.enter_async_context(elected(settings))
        node = await stack.enter_async_context(connect_node(settings))
        publisher = Publisher(await stack.enter_async_context(producing(settings)), settings.partitions)
        listing = PoolListing(node, publisher, settings, await read_listed(settings))
        chain = await _resumed(settings, publisher)
        await _find_managers(listing)
        chain.facts = facts = ChainFactsReader(node)
        bridge = Bridge(settings, node, listing, chain)
        await run_until_first_exit(
            bridge.feed.run(),
            bridge.receive_whitelist(),
            bridge.publish_steps(),
            bridge.observe_node_head(),
            facts.run(),
            leadership.raise_when_lost(),
        )


async def _resumed(settings: Settings, publisher: Publisher) -> ChainPublisher:
    """At the end of the topic, in a term of its own."""
    chain, partitions = await resumed_publisher(settings, publisher)
    log.info("this bridge is the leader of %s", settings.chain)
    await resume(chain, partitions)
    return chain


async def _find_managers(listing: PoolListing) -> None:
    retries = Retries("The PoolManagers of the listed pools", (NodeUnavailable, RpcError), wait_max_s=NODE_RETRY_S)
    async for attempt in retries:
        with attempt:
            await listing.find_managers()


class Bridge:
    """`publish_steps` is the one task that writes; the others leave their input for it."""

    def __init__(self, settings: Settings, node: Node, listing: PoolListing, chain: ChainPublisher) -> None:
        block_marks = settings.exex_wire == "control"
        self._settings = settings
        self._node = node
        self._listing = listing
        self._chain = chain
        self._changed = asyncio.Event()
        self._republish_at_s = 0.0
        self._applying = asyncio.get_running_loop().call_later(0, self._changed.set)
        self._unapplied_since_s: float | None = None
        wire = ControlWire if block_marks else SeedWire
        self.feed = FeedReader(settings.exex_socket, wire, settings.bridge_buffer, self._changed)
        self._follower = ChainFollower(
            node,
            BlockReader(
                node, listing, verify=settings.bridge_verify, block_marks=block_marks, margin=settings.listing_margin
            ),
            chain,
            Limits(settings.bridge_patience_s, settings.bridge_gap_blocks, REORG_TIMEOUT_S),
            self.feed.has_more,
        )

    async def receive_whitelist(self) -> None:
        received = FullList(self._listing.target)
        async for subject, payload in subscribe(self._settings):
            try:
                received = apply_full(received, subject, payload, self._settings.chain)
            except Rejected as error:
                log.error("a whitelist message is rejected, the list stays as it is: %s", error)  # noqa: TRY400  no traceback: the error is a sentence
                continue
            for reason in received.skipped:
                log.error("a pool of a whitelist message is left out of the list: %s", reason)
            self._apply_soon(received.pools)

    def _apply_soon(self, pools: Mapping[PoolId, PoolMetadata]) -> None:
        loop = asyncio.get_running_loop()
        if self._unapplied_since_s is None:
            self._unapplied_since_s = loop.time()
        self._applying.cancel()
        at_s = min(loop.time() + LIST_SETTLES_S, self._unapplied_since_s + LIST_LONGEST_S)
        self._applying = loop.call_at(at_s, self._apply_list, pools)

    def _apply_list(self, pools: Mapping[PoolId, PoolMetadata]) -> None:
        self._unapplied_since_s = None
        self._listing.set_target(pools)
        self._changed.set()

    async def publish_steps(self) -> None:
        await self._catch_up("the bridge was away")
        while True:
            self._changed.clear()
            await self._publish_list()
            if step := self.feed.take():
                await self._follow(step)
            elif not await self._wait_for_change(self._settings.bridge_silence_s):
                await self._catch_up("the feed is silent")

    async def observe_node_head(self) -> None:
        """For the metric alone: a feed that lags is seen from here, whatever program it is."""
        while True:
            try:
                latest = await self._node.header("latest")
            except (NodeUnavailable, RpcError):
                latest = None
            if latest is not None:
                NODE_HEAD.set(latest.number)
            await asyncio.sleep(NODE_HEAD_POLL_S)

    async def _follow(self, step: FeedStep) -> None:
        match step:
            case StepLost(in_reorg):
                await self._catch_up("something of the feed was missed", in_reorg=in_reorg)
            case AssembledBlock():
                await self._follower.catch_up(step.number, step)
            case AssembledReorg() if self._chain.published.last is not None or step.blocks:
                await self._follower.follow_reorg(step)

    async def _publish_list(self) -> None:
        """Its changes, and the whole list every hour.

        Changes wait for the first block: until then it is not known from which block a pool counts.
        """
        last = self._chain.published.last
        if last is not None:
            await self._listing.publish_changes(last + 1)
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._republish_at_s:
            await self._listing.republish()
            self._republish_at_s = now_s + REPUBLISH_S

    async def _wait_for_change(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._changed.wait()
        except TimeoutError:
            return False

    async def _catch_up(self, reason: str, *, in_reorg: bool = False) -> None:
        """Publishes what the node has beyond the topic; in a reorg, also that the chain got shorter."""
        last = self._chain.published.last
        if last is None:
            return
        try:
            latest = await self._node.header("latest")
        except (NodeUnavailable, RpcError) as error:
            log.warning("the node does not give its head: %s", error)
            return
        if latest is not None:
            if latest.number > last:
                log.warning("the topic ends at block %d, %s, the node is at %d", last, reason, latest.number)
            if in_reorg:
                await self._follower.follow_reorg(AssembledReorg(latest.number, ()))
            else:
                await self._follower.catch_up(latest.number)
