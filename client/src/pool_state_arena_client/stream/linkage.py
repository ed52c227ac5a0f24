"""Whether each event of the stream follows from those before it. No I/O."""

from pool_state_arena_client.errors import BrokenChain
from pool_state_arena_client.records import Block
from pool_state_arena_client.stream.events import BlockApplied, Event, Reorganised, Snapshot, block_of

REMEMBERED = 1024
"""Blocks whose hashes are compared with the ancestor of a reorg."""


class Linkage:
    """Of one reader, over all its connections."""

    def __init__(self) -> None:
        self.last: Block | None = None
        """The block that the events up to now make the state of."""
        self._hashes: dict[int, str] = {}

    def check(self, event: Event) -> Event:
        """Raises BrokenChain where the event does not follow; what comes next has to be a snapshot."""
        match event:
            case Snapshot():
                self._hashes = {}
                self._take(block_of(event))
            case BlockApplied():
                self._check_block(block_of(event))
            case Reorganised():
                self._check_reorg(event)
        return event

    def forget(self) -> None:
        """Only a snapshot can follow."""
        self.last = None
        self._hashes = {}

    def _check_block(self, block: Block) -> None:
        if self.last is None:
            raise BrokenChain(f"block {block.number} comes before any snapshot")
        if block.hash == self.last.hash:  # pools changed between two blocks, as by a snapshot of the chain
            return
        if (block.number, block.parent_hash) != (self.last.number + 1, self.last.hash):
            raise BrokenChain(
                f"block {block.number} has parent {block.parent_hash}, the last was {self.last.number} {self.last.hash}"
            )
        self._take(block)

    def _check_reorg(self, event: Reorganised) -> None:
        ancestor = event.ancestor
        known = self._hashes.get(ancestor.number)
        if self.last is None or ancestor.number > self.last.number or known not in (None, ancestor.hash):
            raise BrokenChain(f"a reorg goes back to {ancestor.number} {ancestor.hash}, which did not come before")
        self._hashes = {number: hash_ for number, hash_ in self._hashes.items() if number <= ancestor.number}
        self._take(block_of(event))

    def _take(self, block: Block) -> None:
        self.last = block
        self._hashes[block.number] = block.hash
        self._hashes.pop(block.number - REMEMBERED, None)
