"""The last blocks that the bridge has published, by number and hash. Pure.

They are rebuilt from the records of a partition, so that a bridge that starts knows what was published before.
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
        """The highest block that was published, or is in a gap; None: nothing was published."""
        self.partial = False
        """Updates came after the last complete block."""
        self.term = 0
        """The highest that a record carried."""
        self._unconnected: Block | None = None
        """The last head, where its parent is not the head before."""

    @property
    def head(self) -> Block | None:
        """None where nothing was published, and after a gap: then any block may come next."""
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

    def skip(self, first: int, last: int) -> None:
        """Blocks first to last are a gap."""
        self._forget_from(first)
        self.last, self.partial = last, False

    def replay(self, record: ChainRecord | None) -> None:
        """Records of an older term are ignored, as all readers do. None: a record that is undecodable."""
        if record is not None and record.term is not None:
            if record.term < self.term:
                return
            self.term = record.term
        match record:
            case Update() | None:
                self.partial = True
            case Head(block):
                self._replay_head(block)
            case Reorg(ancestor):
                self.rewind(ancestor)
            case Gap(first, last):
                self.skip(first, last)

    def _replay_head(self, header: Header) -> None:
        """A head that is not connected counts once the next head has it as its parent."""
        head, unconnected, block = self.head, self._unconnected, Block(header.number, header.hash)
        self._unconnected = None
        if head is None or block == head or _is_child(header, head):
            self.publish(block)
        elif unconnected is not None and _is_child(header, unconnected):
            self._hashes = {unconnected.number: unconnected.hash}
            self.last = unconnected.number
            self.publish(block)
        elif self.at(header.number) != block:
            self._unconnected, self.partial = block, True

    def _forget_from(self, number: int) -> None:
        if self.last is not None and number > self.last:
            return
        for forgotten in [known for known in self._hashes if known >= number]:
            del self._hashes[forgotten]


def replay_records(records: Iterable[ChainRecord | None], size: int = REMEMBERED_BLOCKS) -> PublishedChain:
    published = PublishedChain(size)
    for record in records:
        published.replay(record)
    return published


def have_same_end(chains: Sequence[PublishedChain]) -> bool:
    """Whether all partitions end at the same complete block, or in the same gap."""
    return not any(chain.partial for chain in chains) and len({(chain.last, chain.head) for chain in chains}) == 1


def common_ancestor(chains: Sequence[PublishedChain]) -> Block | None:
    """The highest block that every partition has complete; None where they have no block in common."""
    first, *others = chains
    return next((block for block in first.descending() if all(m.at(block.number) == block for m in others)), None)


def _is_child(header: Header, parent: Block) -> bool:
    return (header.number, header.parent) == (parent.number + 1, parent.hash)
