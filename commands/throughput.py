"""How fast this node's pools are read: the same batches as the scraper's, timed."""

import statistics
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from protocols.concentrated import ConcentratedState
from protocols.registry import NAMES, dex_of
from protocols.types import Block, PoolMetadata, ProtocolName
from settings import Settings
from streams.node.client import Node
from streams.node.errors import NodeUnavailable
from streams.node.pool_managers import pool_manager
from streams.node.state.capabilities import NodeCapabilities
from streams.node.state.pinned_state import BlockGone, PinnedState
from streams.node.state.probe import probe_capabilities
from streams.scraper.batch_size import BatchConfig
from streams.snapshots.contract_checks import NoState, ReadFailed
from streams.snapshots.pool_reader import Outcome, Phase, read_pools

TRIES = 5
PHASES: tuple[Phase, ...] = ("filtering", "full_ticks")


class NothingRead(Exception):
    """The node kept on replacing the block."""


class Timing(msgspec.Struct, frozen=True):
    """One batch."""

    protocol: ProtocolName
    phase: Phase
    is_warm_up: bool
    seconds: float
    pools: int
    ticks: int
    unread: int
    """Pools of which the chain has no state, or the node gave none."""


class Rate(msgspec.Struct, frozen=True):
    """All batches of one protocol and phase."""

    protocol: ProtocolName
    phase: Phase
    batches: int
    pools_per_batch: int
    unread: int
    pools_per_second: float
    """The median's; of each batch the pools that were read."""
    slowest_pools_per_second: float
    """Nine of ten batches are faster."""
    ticks_per_second: float
    batch_seconds_p50: float
    batch_seconds_p90: float
    batch_seconds_p99: float
    batch_size: int
    """As many pools as are read in the safe part of a block's time, at the median rate."""


class Meter:
    def __init__(self, node: Node, settings: Settings, config: BatchConfig) -> None:
        self._node = node
        self._settings = settings
        self._config = config
        self._capabilities: NodeCapabilities | None = None

    def batches(self, pools: Sequence[PoolMetadata]) -> list[tuple[Phase, Sequence[PoolMetadata]]]:
        """Of one round. Pools without ticks are read whole in the first phase."""
        found: list[tuple[Phase, Sequence[PoolMetadata]]] = []
        for protocol in NAMES:
            some = [pool for pool in pools if pool.protocol == protocol]
            for phase in PHASES if dex_of(protocol).has_ticks else PHASES[:1]:
                size = self._config.size(protocol, phase)
                found += [(phase, some[at : at + size]) for at in range(0, len(some), size)]
        return found

    async def measure(self, pools: Sequence[PoolMetadata], rounds: int, warm_up: int) -> AsyncIterator[Timing]:
        """Raises NodeUnavailable, RpcError, NothingRead."""
        for number in range(warm_up + rounds):
            for phase, batch in self.batches(pools):
                yield await self._timed(phase, batch, is_warm_up=number < warm_up)

    async def _timed(self, phase: Phase, pools: Sequence[PoolMetadata], *, is_warm_up: bool) -> Timing:
        for _ in range(TRIES):
            began_s = time.monotonic()
            try:
                outcomes = await self._read(phase, pools)
            except BlockGone:
                continue
            read = [each for each in outcomes if not isinstance(each, NoState | ReadFailed)]
            ticks = sum(len(state.ticks) for state in read if isinstance(state, ConcentratedState))
            seconds = time.monotonic() - began_s
            return Timing(pools[0].protocol, phase, is_warm_up, seconds, len(read), ticks, len(pools) - len(read))
        raise NothingRead(f"{TRIES} times in a row the block was replaced while {len(pools)} pools were read")

    async def _read(self, phase: Phase, pools: Sequence[PoolMetadata]) -> list[Outcome]:
        header = await self._node.header(self._config.pin)
        if header is None:
            raise NodeUnavailable(f"the node has no {self._config.pin} block")
        block = Block(header.number, header.hash)
        self._capabilities = self._capabilities or await probe_capabilities(self._node, block)
        managers = {pool.id: await pool_manager(self._node, pool, self._settings) for pool in pools}
        return list(
            (await read_pools(PinnedState(self._node, block, self._capabilities), pools, managers, phase)).values()
        )


def rates(timings: Sequence[Timing], config: BatchConfig) -> list[Rate]:
    """In the order of the phases: filtering of all protocols, then full ticks. Warm-ups do not count."""
    measured = [timing for timing in timings if not timing.is_warm_up]
    kinds = dict.fromkeys((timing.phase, timing.protocol) for timing in measured)
    ordered = sorted(kinds, key=lambda kind: (kind[0] != "filtering", kind[1]))
    return [_rate([each for each in measured if (each.phase, each.protocol) == kind], config) for kind in ordered]


def _rate(timings: Sequence[Timing], config: BatchConfig) -> Rate:
    pools = [timing.pools / timing.seconds for timing in timings]
    median = statistics.median(pools)
    seconds = [timing.seconds for timing in timings]
    return Rate(
        protocol=timings[0].protocol,
        phase=timings[0].phase,
        batches=len(timings),
        pools_per_batch=max(timing.pools + timing.unread for timing in timings),
        unread=max(timing.unread for timing in timings),
        pools_per_second=median,
        slowest_pools_per_second=percentile(pools, 10),
        ticks_per_second=statistics.median(timing.ticks / timing.seconds for timing in timings),
        batch_seconds_p50=percentile(seconds, 50),
        batch_seconds_p90=percentile(seconds, 90),
        batch_seconds_p99=percentile(seconds, 99),
        batch_size=int(median * config.budget_s),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
