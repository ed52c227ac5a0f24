"""Serves snapshot requests in batches, each read at one block; the protocols in parallel."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext

from msgspec.structs import replace

from protocols.registry import NAMES
from protocols.types import Block, PoolId, ProtocolName
from settings import Settings
from streams.kafka.records import AUDIT, SnapshotRequest
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.pool_managers import pool_manager
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import BlockGone, PinnedState, StateUnavailable
from streams.node.state.probe import probe_capabilities
from streams.retry import Retries
from streams.scraper.batch_size import BatchConfig, BatchResult, BatchSizes
from streams.scraper.metrics import BATCH_SECONDS, BATCH_SIZE, BATCHES, CONVERGENCE, CONVERGING, POOLS, RETRIES, WAITING
from streams.scraper.reference_blocks import BatchMetadata, ReferenceBlockPublisher
from streams.scraper.snapshot_publisher import SnapshotPublisher
from streams.scraper.snapshot_requests import RequestQueue
from streams.snapshots.contract_checks import NoState, ReadFailed
from streams.snapshots.pool_reader import Outcome, read_pools

log = logging.getLogger(__name__)

POLL_S = 0.2
WAIT_MAX_S = 15.0


class Scraper:
    def __init__(
        self,
        settings: Settings,
        config: BatchConfig,
        node: Node,
        publisher: SnapshotPublisher,
        reference_blocks: ReferenceBlockPublisher,
    ) -> None:
        self._settings = settings
        self._config = config
        self._node = node
        self._publisher = publisher
        self._reference_blocks = reference_blocks
        self._requests = RequestQueue()
        self._request_added = {protocol: asyncio.Event() for protocol in NAMES}
        self._retries = Retries("The node", (NodeUnavailable, RpcError, StateUnavailable), wait_max_s=WAIT_MAX_S)
        """One for all protocols: they read the same node."""
        self._capabilities: NodeCapabilities | None = None
        self._probing = asyncio.Lock()
        self._sizes = BatchSizes(config)
        self._turn = asyncio.Lock()
        """Held by the protocol that reads, where they do not read in parallel."""
        self._batch_count = 0
        self._converging_since_s: float | None = None
        CONVERGING.set_function(self._converging_s)

    def add_request(self, request: SnapshotRequest) -> None:
        if self._converging_since_s is None and request.reason != AUDIT:
            self._converging_since_s = time.monotonic()
        self._requests.add(request, _now_s())
        self._request_added[request.pool.protocol].set()

    async def run(self, protocol: ProtocolName) -> None:
        """Reads batches of the protocol's pools, for ever. Raises NotPublished."""
        last_block = -1
        while True:
            await self._wait_for_requests(protocol)
            async for attempt in self._retries:
                with attempt:
                    last_block = await self._scrape_batch(protocol, last_block)
                    self._retries.reset()

    async def _wait_for_requests(self, protocol: ProtocolName) -> None:
        queued = self._requests.count(protocol)
        WAITING.labels(protocol).set(queued)
        if not queued:
            self._request_added[protocol].clear()
            await self._request_added[protocol].wait()

    async def _scrape_batch(self, protocol: ProtocolName, last_block: int) -> int:
        """Returns the block of the batch, or `last_block` where no request can be served yet."""
        try:
            async with nullcontext() if self._config.parallel else self._turn:
                head = await self._node.header(self._config.pin)
                taken = [] if head is None else self._take(protocol, head, last_block)
                if head is not None and taken:
                    await self._serve(protocol, head, taken)
                    return head.number
        except StateUnavailable:
            BATCHES.labels(protocol, "state unavailable").inc()
            raise
        except BlockGone as error:
            BATCHES.labels(protocol, "restarted").inc()
            log.info("a batch of %s pools restarts at another block: %s", protocol, error)
        except (NodeUnavailable, RpcError):
            BATCHES.labels(protocol, "node unavailable").inc()
            raise
        await asyncio.sleep(POLL_S)
        return last_block

    def _take(self, protocol: ProtocolName, head: NodeHeader, last_block: int) -> list[SnapshotRequest]:
        if self._config.wait_for_next_block and head.number <= last_block:
            return []
        return self._requests.take(protocol, self._sizes.next(protocol), head.number, _now_s())

    async def _serve(self, protocol: ProtocolName, head: NodeHeader, taken: Sequence[SnapshotRequest]) -> None:
        """Every request is completed or back in the queue afterwards."""
        try:
            await self._read_and_publish(protocol, Block(head.number, head.hash), taken)
        finally:
            unserved = [request for request in taken if self._requests.is_being_read(request.pool.id)]
            self._requests.requeue(unserved, _now_s())

    async def _read_and_publish(self, protocol: ProtocolName, block: Block, taken: Sequence[SnapshotRequest]) -> None:
        began_s = _now_s()
        self._batch_count += 1
        begun = BatchResult(self._batch_count, protocol, "full_ticks", block, len(taken))
        try:
            outcomes = await self._read(block, taken)
        except BlockGone as error:
            self._sizes.learn(replace(begun, duration_seconds=_now_s() - began_s, error=str(error)))
            raise
        answers = {pool: outcome for pool, outcome in outcomes.items() if not isinstance(outcome, ReadFailed)}
        await self._publisher.publish(block, answers)
        for pool in answers:
            self._requests.complete(pool, _now_s())
        self._back_off(outcomes)
        self._requeue_failed(taken, outcomes)
        failed = tuple(pool for pool in outcomes if pool not in answers)
        result = replace(begun, pools_scraped=len(answers), failed=failed, duration_seconds=_now_s() - began_s)
        self._sizes.learn(result)
        self._observe(result, outcomes)
        await self._reference_blocks.publish(block.number, self._batch_metadata(result))

    async def _read(self, block: Block, taken: Sequence[SnapshotRequest]) -> dict[PoolId, Outcome]:
        try:
            async with self._probing:
                self._capabilities = self._capabilities or await probe_capabilities(self._node, block)
            pools = [request.pool for request in taken]
            managers = {pool.id: await pool_manager(self._node, pool, self._settings) for pool in pools}
            return await read_pools(PinnedState(self._node, block, self._capabilities), pools, managers)
        except StateUnavailable:
            self._capabilities = None
            raise

    def _back_off(self, outcomes: dict[PoolId, Outcome]) -> None:
        """One warning per pool and reason, not one per try."""
        for pool, outcome in outcomes.items():
            if not isinstance(outcome, NoState | ReadFailed):
                self._requests.reset_backoff(pool)
            elif self._requests.back_off(pool, outcome.reason, _now_s()):
                log.warning("%s cannot be read, it is tried again less and less often: %s", pool, outcome.reason)

    def _requeue_failed(self, taken: Sequence[SnapshotRequest], outcomes: dict[PoolId, Outcome]) -> None:
        for request in taken:
            outcome = outcomes[request.pool.id]
            if isinstance(outcome, ReadFailed):
                RETRIES.labels(request.pool.protocol).inc()
                self._requests.requeue([request], _now_s())

    def _observe(self, result: BatchResult, outcomes: dict[PoolId, Outcome]) -> None:
        protocol, duration_s = result.protocol, result.duration_seconds
        BATCHES.labels(protocol, "read").inc()
        BATCH_SECONDS.labels(protocol).observe(duration_s)
        BATCH_SIZE.labels(protocol).set(self._sizes.next(protocol))
        for outcome in outcomes.values():
            POOLS.labels(protocol, type(outcome).__name__.lower()).inc()
        if duration_s > self._config.budget_s:
            log.warning("a batch of %d %s pools took %.1f s, most of a block", len(outcomes), protocol, duration_s)
        if self._converging_since_s is not None and not any(map(self._requests.count, NAMES)):
            CONVERGENCE.observe(self._converging_s())
            self._converging_since_s = None

    def _converging_s(self) -> float:
        """At any time, also outside the event loop."""
        since_s = self._converging_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def _batch_metadata(self, result: BatchResult) -> BatchMetadata:
        left = sum(-(-self._requests.count(each) // self._sizes.next(each)) for each in NAMES)
        return BatchMetadata(result.batch_number, result.batch_number + left, result.protocol, result.pools_requested)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
