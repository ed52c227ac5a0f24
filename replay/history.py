"""What changed in each block of a range: states, ticks and events, those of the canonical chain only. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from aiokafka import ConsumerRecord

from protocols.ticks import Tick, Ticks, differing
from protocols.types import Block, Event, PoolId, PriceState
from streams.kafka.records import Header, Undecodable, Update, decode_chain
from tables.live import Live
from tables.partition import Changes, PoolChange
from tables.pool import Pool


class StateRow(NamedTuple):
    """A pool's state at the end of a block that changed it, or from which on it is known."""

    block: Block
    pool: PoolId
    price: PriceState


class TickRow(NamedTuple):
    """A tick after a block that changed it; gross and net are 0 where it is gone."""

    block: Block
    pool: PoolId
    tick: Tick


class EventRow(NamedTuple):
    block: Block
    pool: PoolId
    event_index: int
    """Within the pool's events of the block, in log order."""
    event: Event


class HistoryRows(NamedTuple):
    states: list[StateRow]
    ticks: list[TickRow]
    events: list[EventRow]


class KeptBlock(NamedTuple):
    header: Header
    rows: HistoryRows
    started: list[PoolId]
    """Pools that are live from this block on: their rows are all of their ticks."""


class History:
    """Rows of the blocks from `first` on; a reorg takes back those of the blocks that it drops."""

    def __init__(self, first: int, pools: frozenset[PoolId] | None) -> None:
        self._first = first
        self._pools = pools
        self._blocks: list[KeptBlock] = []
        self._updates: list[Update] = []
        """Since the last head."""

    def update(self, record: ConsumerRecord) -> None:
        try:
            update = decode_chain(record.value or b"")
        except Undecodable:
            return
        if isinstance(update, Update) and self._is_kept(update.pool):
            self._updates.append(update)

    def block(self, header: Header, changes: Changes) -> None:
        while self._blocks and self._blocks[-1].header.number >= header.number:
            self._blocks.pop()
        if header.number < self._first:
            return
        block, rows = Block(header.number, header.hash), HistoryRows([], [], [])
        changed = list(changes.pools()) if self._blocks else _all_anew(changes)
        started = []
        for change in changed:
            if self._is_kept(change.pool_id):
                _add(rows, block, change)
                if _live(change.before) is None and _live(change.after) is not None:
                    started.append(change.pool_id)
        rows.events.extend(_events(self._updates, block))
        self._updates.clear()
        self._blocks.append(KeptBlock(header, rows, started))

    def _is_kept(self, pool: PoolId) -> bool:
        return self._pools is None or pool in self._pools

    def rows(self) -> HistoryRows:
        return HistoryRows(
            [row for kept in self._blocks for row in kept.rows.states],
            list(_complete_ticks(self._blocks)),
            [row for kept in self._blocks for row in kept.rows.events],
        )


def _all_anew(changes: Changes) -> list[PoolChange]:
    """The first block has the whole state of every pool, so that the rows say all without what came before."""
    return [PoolChange(pool_id, None, pool) for pool_id, pool in changes.partition.pools.items()]


def _complete_ticks(blocks: Iterable[KeptBlock]) -> Iterator[TickRow]:
    """With a row for each tick that went while its pool waited."""
    held: dict[PoolId, set[int]] = {}
    for header, rows, started in blocks:
        present: dict[PoolId, set[int]] = {pool: set() for pool in started}
        for row in rows.ticks:
            if row.pool in present:
                present[row.pool].add(row.tick.tick)
        for pool, ticks in present.items():
            for gone in sorted(held.pop(pool, set()) - ticks):
                yield TickRow(Block(header.number, header.hash), pool, Tick(gone, 0, 0))
        for row in rows.ticks:
            ticks = held.setdefault(row.pool, set())
            (ticks.add if row.tick.liquidity_gross else ticks.discard)(row.tick.tick)
            yield row


def _add(rows: HistoryRows, block: Block, change: PoolChange) -> None:
    after = change.after.life if change.after else None
    if not isinstance(after, Live):
        return
    before = _live(change.before)
    applied = after.recent[-1] if after.recent and after.recent[-1].block == block else None
    if before is None or applied or before.price != after.price:
        rows.states.append(StateRow(block, change.pool_id, after.price))
    changed = _changed(before.ticks if before else None, after.ticks)
    rows.ticks.extend(TickRow(block, change.pool_id, tick) for tick in changed)


def _events(updates: Iterable[Update], block: Block) -> Iterator[EventRow]:
    """A record that is on the topic twice counts once."""
    parts = {(update.pool, update.part): update.events for update in updates if update.block == block}
    by_pool: dict[PoolId, list[Event]] = {}
    for (pool, _), events in sorted(parts.items()):
        by_pool.setdefault(pool, []).extend(events)
    for pool, some in by_pool.items():
        yield from (EventRow(block, pool, at, event) for at, event in enumerate(some))


def _live(pool: Pool | None) -> Live | None:
    return pool.life if pool and isinstance(pool.life, Live) else None


def _changed(before: Ticks | None, after: Ticks) -> list[Tick]:
    return [Tick(tick, *(after.get(tick) or (0, 0))) for tick in differing(before, after)]
