"""What the bridge has published of the chain: its last blocks by number and hash. PURE.

The same memory is rebuilt from the records of a partition, so that a bridge started again knows what it said before.
"""

from collections.abc import Iterable, Iterator, Sequence

from protocols.types import Block
from streams.kafka.records import ChainRecord, Gap, Head, Header, Reorg, Update

REMEMBERED_BLOCKS = 1024


class PublishedChain:
    def __init__(self, size: int = REMEMBERED_BLOCKS) -> None:
        self._size = size
        self._hashes: dict[int, str] = {}
        self.last: int | None = None
        """The highest block that was published or given up; None: nothing was."""
        self.partial = False
        """Updates came after the last complete block."""
        self.term = 0
        """The highest that a record carried."""
        self._doubtful: Block | None = None
        """The last head, where it does not follow the one before."""

    @property
    def head(self) -> Block | None:
        """None where nothing was published, and after a gap: then the chain has to be taken as it comes."""
        return None if self.last is None else self.at(self.last)

    @property
    def oldest(self) -> int | None:
        return min(self._hashes, default=None)

    def __len__(self) -> int:
        return len(self._hashes)

    def at(self, number: int) -> Block | None:
        hash_ = self._hashes.get(number)
        return None if hash_ is None else Block(number, hash_)

    def descending(self) -> Iterator[Block]:
        return (Block(number, self._hashes[number]) for number in sorted(self._hashes, reverse=True))

    def publish(self, block: Block) -> None:
        self._forget_from(block.number)
        self._hashes[block.number] = block.hash
        while len(self._hashes) > self._size:
            del self._hashes[min(self._hashes)]
        self.last, self.partial = block.number, False

    def rewind(self, ancestor: Block) -> None:
        self.publish(ancestor)

    def lose(self, first: int, last: int) -> None:
        self._forget_from(first)
        self.last, self.partial = last, False

    def replay(self, record: ChainRecord | None) -> None:
        if record is not None and record.term is not None:
            if record.term < self.term:
                return
            self.term = record.term
        match record:
            case Update() | None:
                self.partial = True
            case Head(block):
                self._follow(block)
            case Reorg(ancestor):
                self.rewind(ancestor)
            case Gap(first, last):
                self.lose(first, last)

    def _follow(self, header: Header) -> None:
        """A head that does not follow is believed when the next one follows it; before that it may be anybody's."""
        head, doubtful, block = self.head, self._doubtful, Block(header.number, header.hash)
        self._doubtful = None
        if head is None or block == head or (header.number, header.parent) == (head.number + 1, head.hash):
            self.publish(block)
        elif doubtful is not None and (header.number, header.parent) == (doubtful.number + 1, doubtful.hash):
            self._hashes = {doubtful.number: doubtful.hash}
            self.last = doubtful.number
            self.publish(block)
        elif self.at(header.number) != block:
            self._doubtful, self.partial = block, True

    def _forget_from(self, number: int) -> None:
        if self.last is not None and number > self.last:
            return
        for forgotten in [known for known in self._hashes if known >= number]:
            del self._hashes[forgotten]


def replayed(records: Iterable[ChainRecord | None], size: int = REMEMBERED_BLOCKS) -> PublishedChain:
    memory = PublishedChain(size)
    for record in records:
        memory.replay(record)
    return memory


def agree(memories: Sequence[PublishedChain]) -> bool:
    """Whether all partitions end at the same complete block, or in the same gap."""
    return not any(memory.partial for memory in memories) and len({(m.last, m.head) for m in memories}) == 1


def common(memories: Sequence[PublishedChain]) -> Block | None:
    """The highest block that every partition has complete; None: there is no such block in memory."""
    first, *others = memories
    return next((block for block in first.descending() if all(m.at(block.number) == block for m in others)), None)
