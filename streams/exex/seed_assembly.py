"""Assembles messages of the seed protocol, which has no marks for either, to blocks and reorgs. Pure.

A block is over when the next one begins, or when nothing came for a while (the caller's clock: `flush`); what still
comes for it then is a further part. Of a reorg every reverted block is named, and the ancestor is below the lowest.
"""

from protocols.registry import Event
from protocols.types import PoolId
from streams.exex.seed import PoolEvent, Reorg
from streams.exex.steps import AssembledBlock, AssembledReorg, Step, check_amounts_of


class SeedAssembly:
    def __init__(self) -> None:
        self._number: int | None = None
        self._part = 0
        self._updates: dict[PoolId, list[Event]] = {}
        self._lowest: int | None = None

    def receive(self, message: PoolEvent | Reorg) -> list[Step]:
        """The steps that this message ends. Raises ProtocolViolation, and is of no more use then."""
        if isinstance(message, Reorg):
            ended = self._end_block()
            self._number = None
            self._lowest = message.block_number if self._lowest is None else min(message.block_number, self._lowest)
            return ended
        check_amounts_of(message.block_number, message.pool, message.event)
        ended = self._end_reorg()
        if message.block_number != self._number:
            ended += self._end_block()
            self._number, self._part = message.block_number, 0
        self._updates.setdefault(message.pool, []).append(message.event)
        return ended

    def flush(self) -> list[Step]:
        return self._end_reorg() + self._end_block()

    def _end_block(self) -> list[Step]:
        if not self._updates or self._number is None:
            return []
        updates = {pool: tuple(events) for pool, events in self._updates.items()}
        block = AssembledBlock(self._number, timestamp=None, base_fee=None, updates=updates, part=self._part)
        self._updates, self._part = {}, self._part + 1
        return [block]

    def _end_reorg(self) -> list[Step]:
        if self._lowest is None:
            return []
        reorg, self._lowest = AssembledReorg(self._lowest - 1, ()), None
        return [reorg]
