"""Copies a past range from the node into topics of its own: the list, snapshots at the start, then every block by hash.

The topics say how far it is, so that a run that was killed is gone on with by another.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from protocols.types import Block, PoolId, PoolMetadata
from replay.backfill.created_pools import BlocksAndCreations, creation_blocks
from replay.backfill.node_checks import check_node, find_managers
from replay.backfill.plan import InvalidPlan, Plan, backfill_settings, only_these
from replay.backfill.pool_list import chosen_pools
from replay.backfill.resume import Written, read_written, resume_chain
from replay.backfill.snapshots import PoolSnapshots
from settings import Settings
from streams.bridge.block_reader import BlockReader
from streams.bridge.chain_follower import ChainFollower, Limits
from streams.bridge.pool_listing import PoolListing
from streams.kafka.clients import producing
from streams.kafka.publisher import Publisher
from streams.kafka.topic_setup import ensure_backfill_topics
from streams.node.client import Node, connect_node
from streams.scraper.snapshot_publisher import SnapshotPublisher

STRIDE = 32
"""Blocks between two reports of progress."""
REORG_TIMEOUT_S = 1.0


class BackfillStopped(Exception):
    def __init__(self, number: int, error: Exception) -> None:
        super().__init__(f"block {number} cannot be had: {error}; the same command goes on from there")


class Request(NamedTuple):
    plan: Plan
    pools: Collection[PoolId] | None
    """None: all of the list."""
    whitelist: Path | None
    """A file with the list; None: the live topic."""


class Backfilled(msgspec.Struct, frozen=True):
    topics: str
    """Their prefix."""
    first: int
    last: int
    pools: int
    without_state: tuple[PoolId, ...]
    """Pools that have no state at any block of the range."""


OnProgress = Callable[[str, int, int], None]
"""Is given what is copied, how many of it are done, and how many there are."""


async def backfill(settings: Settings, request: Request, on_progress: OnProgress) -> Backfilled:
    """Raises InvalidPlan, NodeLacks and NodeUnavailable before anything is written; BackfillStopped, PoolNotRead,
    ProduceFailed and NotPublished later."""
    target = backfill_settings(settings, request.plan.name)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(connect_node(settings))
        written = await read_written(target)
        pools = await _pools(settings, request, written)
        start = await check_node(node, request.plan)
        managers = await find_managers(node, pools.values(), settings)
        await ensure_backfill_topics(target)
        producer = await stack.enter_async_context(producing(target, compressed=True))
        snapshots = PoolSnapshots(node, target, start, SnapshotPublisher(target.chain, producer), managers)
        copy = Copy(target, node, Publisher(producer, target.partitions), request.plan, on_progress)
        await copy.list_pools(pools, written)
        await copy.take_snapshots(snapshots, snapshots.load(pools.values(), written.snapshots), start.block)
        await copy.publish_blocks(snapshots)
    without_state = tuple(sorted(snapshots.without_state))
    return Backfilled(target.chain, request.plan.first, request.plan.last, len(pools), without_state)


async def _pools(settings: Settings, request: Request, written: Written) -> dict[PoolId, PoolMetadata]:
    """Blocks on the topic are of the pools that were listed before them. Raises InvalidPlan."""
    if written.first is None:
        return await chosen_pools(settings, request.whitelist, request.pools)
    name, listed = request.plan.name, {pool: record.pool for pool, record in written.listed.items()}
    if written.first != request.plan.first:
        raise InvalidPlan(
            f"backfill {name} begins at block {written.first}, and this one at block {request.plan.first}; give it "
            "another --name"
        )
    if request.pools is not None and len(only_these(listed, request.pools)) < len(listed):
        raise InvalidPlan(f"backfill {name} has {len(listed)} pools, and not these; give it another --name")
    return listed


class Copy:
    """The steps of a backfill, in this order."""

    def __init__(
        self, settings: Settings, node: Node, publisher: Publisher, plan: Plan, on_progress: OnProgress
    ) -> None:
        self._settings = settings
        self._node = node
        self._publisher = publisher
        self._plan = plan
        self._on_progress = on_progress

    async def list_pools(self, pools: Mapping[PoolId, PoolMetadata], written: Written) -> None:
        self._listing = PoolListing(self._node, self._publisher, self._settings, written.listed)
        await self._listing.find_managers()
        self._listing.set_target(pools)
        await self._listing.publish_changes(self._plan.first)

    async def take_snapshots(self, snapshots: PoolSnapshots, unread: Sequence[PoolMetadata], block: Block) -> None:
        done = 0

        def count(taken: int) -> None:
            nonlocal done
            done += taken
            self._on_progress("snapshots", done, len(unread))

        await snapshots.take(block, unread, count)

    async def publish_blocks(self, snapshots: PoolSnapshots) -> None:
        """Raises BackfillStopped."""
        plan, chain = self._plan, await resume_chain(self._settings, self._publisher, self._node)
        next_block = plan.first if chain.published.last is None else chain.published.last + 1
        protocols = {pool.id: pool.protocol for pool in snapshots.without_state.values()}
        created = await creation_blocks(self._node, protocols, next_block, plan.last)
        reader = BlockReader(self._node, self._listing, verify=True, block_marks=True, margin=0)
        limits = Limits(self._settings.bridge_patience_s, plan.last, REORG_TIMEOUT_S)
        blocks = BlocksAndCreations(reader, snapshots, created)
        follower = ChainFollower(self._node, blocks, chain, limits, lambda: False)
        while next_block <= plan.last:
            target = next_block if chain.published.last is None else min(next_block + STRIDE - 1, plan.last)
            if error := await follower.advance(target):
                raise BackfillStopped(next_block, error) from error
            next_block = target + 1
            self._on_progress("blocks", next_block - plan.first, plan.last - plan.first + 1)
