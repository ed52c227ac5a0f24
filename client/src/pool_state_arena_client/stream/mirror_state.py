"""The pools that the events of the stream add up to. No I/O."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pool_state_arena_client.errors import NotInStep
from pool_state_arena_client.records import Block, Envelope, Pool, Tick
from pool_state_arena_client.stream.events import BlockApplied, Event, Reorganised, Snapshot


class MirrorState(Mapping[str, Pool]):
    """Pools by id, all as of `block`. Reading raises NotInStep where it is not known to equal the server's state."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._envelope: Envelope | None = None
        self._why_not: str | None = "no snapshot has come yet"

    @property
    def is_in_step(self) -> bool:
        """The stream is connected, and the pools are as of its last block."""
        return self._why_not is None

    @property
    def block(self) -> Block:
        """Raises NotInStep."""
        if self._why_not is not None or self._envelope is None or self._envelope.block is None:
            raise NotInStep(f"the mirror does not follow the server: {self._why_not}")
        return self._envelope.block

    @property
    def envelope(self) -> Envelope:
        """Raises NotInStep."""
        assert self.block and self._envelope
        return self._envelope

    def lose_step(self, why: str) -> None:
        """Until the next event: the stream is lost."""
        self._why_not = why

    def apply(self, event: Event) -> None:
        """An event that follows from those before it."""
        match event:
            case Snapshot():
                self._pools = {}
                self._take(event.envelope, event.pools, ())
            case BlockApplied() | Reorganised():
                self._take(event.envelope, event.pools, event.removed)

    def _take(self, envelope: Envelope, pools: Iterable[Pool], removed: Iterable[str]) -> None:
        for pool in pools:
            self._pools[pool.id] = _with_ticks_of(self._pools.get(pool.id), pool)
        for pool_id in removed:
            self._pools.pop(pool_id, None)
        self._envelope, self._why_not = envelope, None

    def __getitem__(self, pool_id: str) -> Pool:
        assert self.block
        return self._pools[pool_id.lower()]

    def __iter__(self) -> Iterator[str]:
        assert self.block
        return iter(list(self._pools))

    def __len__(self) -> int:
        assert self.block
        return len(self._pools)


def _with_ticks_of(before: Pool | None, after: Pool) -> Pool:
    """The stream sends the ticks that changed, and all of a pool that had none."""
    if after.ticks is None:
        return after
    ticks = {tick.tick: tick for tick in (before.ticks if before and before.ticks else ())}
    for tick in after.ticks:
        ticks[tick.tick] = tick
    kept: tuple[Tick, ...] = tuple(ticks[index] for index in sorted(ticks) if ticks[index].liquidity_gross)
    return msgspec.structs.replace(after, ticks=kept)
