"""What goes in and out of a durable table: chunks of records in, rows and side records out."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from aiokafka import ConsumerRecord

CHUNK_RECORDS = 2000
CHUNK_BYTES = 4 * 2**20


class Chunk(NamedTuple):
    """Consecutive records of one topic partition, as fetched."""

    topic: str
    partition: int
    records: Sequence[ConsumerRecord]
    """Ascending by offset, never empty."""


class Fetched(NamedTuple):
    """A chunk on its way from the consumer to the task that applies it."""

    chunk: Chunk
    start: int
    """All records that the log holds from this offset up to the chunk's last one are in the chunk."""
    seek: int
    """How many seeks of the topic partition were made before it was fetched."""

    @property
    def end(self) -> int:
        return int(self.chunk.records[-1].offset) + 1

    def after(self, position: int) -> Chunk:
        """Without the records before the position; empty where it ends before it."""
        chunk = self.chunk
        if chunk.records[0].offset >= position:
            return chunk
        return chunk._replace(records=[record for record in chunk.records if record.offset >= position])


class Rows(Protocol):
    """The rows of one partition."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """By ascending key."""
        ...


class Append(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes


class Folded(NamedTuple):
    rows: Mapping[bytes, bytes | None]
    """New values, written in this order; None deletes. Keys that begin with `!` are the layer's own."""
    sends: Sequence[tuple[str, bytes, bytes]]
    """Topic, key, value: acknowledged before the position moves."""
    appends: Sequence[Append] = ()
    """Acknowledged likewise, on the partition of the chunk, in this order."""


class Processor(Protocol):
    """The application's part: folds chunks to rows.

    All methods are called on the event loop, for one partition one at a time; an exception ends the worker. Those that
    may take long are asynchronous, so that they can pause or use a thread. Rows can be ahead of a partition's position
    after a crash between two writes, so each should say up to which offset it is folded.
    """

    async def fold(self, partition: int, rows: Rows, chunk: Chunk) -> Folded: ...

    def missing(self, partition: int, rows: Rows, topic: str, first: int, last: int) -> Folded:
        """Records first to last were deleted from the topic before they were read: its retention is too short."""
        ...

    async def recovered(self, partition: int, rows: Rows, epoch: int) -> None:
        """The partition is assigned to this worker and its rows are complete; its chunks follow.

        `epoch` is higher than that of any worker before: it tells late writes of those from our own.
        """
        ...

    def outdated(self, partition: int, keys: Collection[bytes]) -> None:
        """Another worker wrote newer values of these rows to the changelog: what is cached of them is outdated."""
        ...

    def revoked(self, partition: int) -> None:
        """The partition is no longer assigned to this worker: drop what is cached of it."""
        ...


def cut(records: Sequence[ConsumerRecord]) -> Iterator[list[ConsumerRecord]]:
    """Into chunks of bounded length and bytes; a record larger than that is a chunk of its own."""
    part: list[ConsumerRecord] = []
    size = 0
    for record in records:
        length = len(record.value or b"")
        if part and (len(part) == CHUNK_RECORDS or size + length > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part
